"""Bodies in, and bodies out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.core.validators import EmailValidator, RegexValidator
from django.db import models
from rest_framework import serializers

from django_secure_auth.conf import conf
from django_secure_auth.kit.identifiers import MAX_IDENTIFIER, canonical_identifier
from django_secure_auth.kit.redact import redact_email
from django_secure_auth.mail import address_of
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.rbac.services import roles_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.strict import StrictModelSerializer, StrictSerializer
from django_secure_auth.strict.fields import PasswordField, StrictBooleanField, StrictCharField


class TypedPasswordField(PasswordField):
    """Bounded like a new password, and handed on as typed: an old hash may be of a form that nobody normalised."""

    def to_internal_value(self, data: Any) -> str:
        super().to_internal_value(data)
        return str(data)


class LoginSerializer(StrictSerializer):
    email = StrictCharField(max_length=MAX_IDENTIFIER)
    password = TypedPasswordField()
    remember_me = StrictBooleanField(required=False, default=False)


class LoginInBodySerializer(LoginSerializer):
    """For clients without cookies, which bring their device's secret along."""

    device_token = StrictCharField(required=False, max_length=128)


class AddressField(StrictCharField):
    """An address that mail can be sent to, in its canonical form: one character may become many, and blanks too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_IDENTIFIER, **kwargs)
        self.validators.append(EmailValidator())

    def to_internal_value(self, data: Any) -> str:
        typed = super().to_internal_value(data)
        EmailValidator()(typed)
        return canonical_identifier(typed)  # judged too, by the validators


class ReauthenticateSerializer(StrictSerializer):
    password = TypedPasswordField()


class PasswordChangeSerializer(StrictSerializer):
    current_password = TypedPasswordField()
    new_password = PasswordField()


class PasswordResetSerializer(StrictSerializer):
    email = StrictCharField(max_length=MAX_IDENTIFIER)


class LinkSerializer(StrictSerializer):
    """What a mailed link holds."""

    uid = StrictCharField(max_length=64)
    token = StrictCharField(max_length=128)


class PasswordResetConfirmSerializer(LinkSerializer):
    new_password = PasswordField()


class EmailChangeSerializer(StrictSerializer):
    new_email = AddressField()


class CodeField(StrictCharField):
    """Only ASCII digits, exactly as sent: full-width digits and blanks are other characters."""

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        RegexValidator(rf"\A[0-9]{{{conf.OTP_LENGTH}}}\Z", f"Must be {conf.OTP_LENGTH} digits.")(value)
        return value


class ApproveSerializer(StrictSerializer):
    otp_code = CodeField()


class ChallengeInBodySerializer(StrictSerializer):
    challenge_token = StrictCharField(max_length=128)


class ApproveInBodySerializer(ChallengeInBodySerializer):
    otp_code = CodeField()
    device_token = StrictCharField(required=False, max_length=128)


class RefreshInBodySerializer(StrictSerializer):
    refresh_token = StrictCharField(max_length=256)


class NothingSerializer(StrictSerializer):
    """No body at all, or `{}`."""


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identity_fields(model: Any) -> frozenset[str]:
    """Return what users are known by, whatever a project calls it: a profile that held it would change who signs in."""
    return frozenset({model.get_email_field_name(), model.USERNAME_FIELD, model._meta.pk.name})


def profile_fields() -> tuple[str, ...]:
    """Return the fields of `PROFILE_FIELDS` that the user model has; relations and identities are no profile."""
    return _plain_fields(conf.PROFILE_FIELDS)


def _plain_fields(names: Iterable[str]) -> tuple[str, ...]:
    model = get_user_model()
    hidden = identity_fields(model)

    def is_plain(name: str) -> bool:
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            return False
        return bool(field.concrete and not field.is_relation)

    return tuple(name for name in names if name not in hidden and is_plain(name))


def profile_serializer() -> type[serializers.Serializer[Any]]:
    """Return the serializer of `PATCH me/`: the model's own validation, for the profile's fields only."""
    names = profile_fields()
    meta = type("Meta", (), {"model": get_user_model(), "fields": names})
    return type("ProfileSerializer", (_ProfileSerializer,), {"Meta": meta, "__module__": __name__})


class _ProfileSerializer(StrictModelSerializer[Any]):
    """Texts are taken verbatim, as everywhere in our own bodies."""

    serializer_field_mapping: ClassVar = {
        **StrictModelSerializer.serializer_field_mapping,
        models.CharField: StrictCharField,
        models.TextField: StrictCharField,
    }


def registration_serializer() -> type[serializers.Serializer[Any]]:
    """Return the serializer of `register/`: address, password, and `REGISTRATION_FIELDS` as the user model has them."""
    model = get_user_model()
    names = _plain_fields(conf.REGISTRATION_FIELDS)
    meta = type("Meta", (), {"model": model, "fields": ("email", "password", *names)})
    members = {
        "email": AddressField(),
        "password": PasswordField(),
        "Meta": meta,
        "__module__": __name__,
    }
    return type("RegistrationSerializer", (_ProfileSerializer,), members)


def user_body(user: AbstractBaseUser) -> dict[str, Any]:
    return {"id": str(user.pk), "email": address_of(user), "roles": sorted(roles_of(user))}


def session_body(session: Session) -> dict[str, Any]:
    return {
        "id": str(session.pk),
        "created_at": rfc3339(session.created_at),
        "idle_expires_at": rfc3339(session.idle_at),
        "expires_at": rfc3339(session.absolute_at),
        "remember_me": session.remember_me,
        "amr": session.amr,
    }


def challenge_body(challenge: OTPChallenge) -> dict[str, Any]:
    return {
        "id": str(challenge.pk),
        "purpose": challenge.purpose,
        "sent_to": redact_email(challenge.email),
        "expires_at": rfc3339(challenge.expires_at),
        "resend_at": rfc3339(challenge.resend_at),
        "attempts_left": max(0, conf.OTP_ATTEMPTS - challenge.attempts),
    }
