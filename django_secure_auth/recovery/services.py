"""A forgotten password: a link is asked for, and a new password is stored. It never signs anybody in."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.utils import timezone, translation

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import DeliveryUnavailable, InvalidCredentials, PasswordRejected, ResetInvalid
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.kit.opaque import is_equal
from django_secure_auth.mail import deliver
from django_secure_auth.otp import services as otp
from django_secure_auth.passwords.services import judge_new_password, replace_password
from django_secure_auth.ratelimit.services import Reservation, give_back, reserve
from django_secure_auth.recovery.models import PasswordReset
from django_secure_auth.recovery.policy import current_key, token_of
from django_secure_auth.recovery.tasks import send_reset
from django_secure_auth.request_scope import AnyRequest, scope_of
from django_secure_auth.sessions.services import device_label, end_all
from django_secure_auth.sessions.state import account_fingerprint

logger = logging.getLogger("django_secure_auth")


def request_reset(request: AnyRequest, *, email: str) -> None:
    """Have a link mailed to the account of an address, if there is one.

    Nobody is looked for here: a row is written and the worker is told, so that a known and an unknown address cost the
    same. Raises LimitReached, StateUnavailable, or DeliveryUnavailable: the broker is away, or there is no `BASE_URL`
    for a link.
    """
    if not conf.BASE_URL:
        logger.error("A password cannot be reset: DJANGO_SECURE_AUTH['BASE_URL'] is not set.")
        raise DeliveryUnavailable
    identifier = canonical_identifier(email)
    scope = scope_of(request)
    taken = (
        reserve("password_reset_address", address_prefix(scope.ip_address), request=request),
        reserve("password_reset", identifier, request=request),
    )
    reset = PasswordReset(
        email=email,
        key_id=current_key().key_id,
        language=translation.get_language() or "",
        expires_at=timezone.now() + conf.PASSWORD_RESET_TTL,
        ip_address=scope.ip_address,
        device_label=device_label(scope.user_agent),
    )
    reset.save(force_insert=True)
    record(events.RESET_REQUESTED, request=request, reset_id=str(reset.pk))
    transaction.on_commit(partial(_send, reset, taken), using=router.db_for_write(PasswordReset))


def _send(reset: PasswordReset, taken: tuple[Reservation | None, ...]) -> None:
    try:
        deliver(send_reset, str(reset.pk), expires=conf.PASSWORD_RESET_TTL)
    except DeliveryUnavailable:
        give_back(*taken)
        PasswordReset.objects.filter(pk=reset.pk).close("undelivered")
        record(events.RESET_UNDELIVERED, reset_id=str(reset.pk), reason="broker")
        raise


def confirm_reset(request: AnyRequest, *, uid: str, token: str, new: str) -> None:
    """Store a new password for the holder of a mailed link, once. All sessions, devices and other links are over.

    A password that is refused uses nothing up. Raises ResetInvalid, always the same, PasswordRejected, or
    StateUnavailable. Call it outside of a transaction that a refusal rolls back. Source: ASVS 6.4.3, 7.4.3; NIST SP
    800-63B-4 §4.2.1.2; OWASP Forgot Password Cheat Sheet.
    """
    reset, user = _judged(uid, token, request)
    try:
        judge_new_password(new, user)
    except PasswordRejected:
        record(events.RESET_FAIL, request=request, user=user, reset_id=str(reset.pk), reason="policy")
        raise
    with transaction.atomic(using=router.db_for_write(PasswordReset)):
        if not PasswordReset.objects.open().filter(pk=reset.pk).update(used_at=timezone.now()):
            raise ResetInvalid  # of two with one link
        try:
            replace_password(user, new)
        except InvalidCredentials:  # it was changed in this very moment: the link is for what it was
            raise ResetInvalid from None
        PasswordReset.objects.filter(user=user.pk).close("used")
        otp.forget(user)
        end_all(user, reason="password_reset")
    record(events.PASSWORD_RESET, request=request, user=user, reset_id=str(reset.pk))
    told = partial(signals.password_changed.send_robust, sender=user.__class__, user_id=user.pk, how="reset")
    transaction.on_commit(told, using=router.db_for_write(PasswordReset))


def _judged(uid: str, token: str, request: AnyRequest) -> tuple[PasswordReset, AbstractBaseUser]:
    reset = _of_uid(uid)
    user: Any = reset.user if reset is not None else None
    expected = token_of(reset) if reset is not None else None
    is_genuine = expected is not None and is_equal(expected, token)
    is_fresh = user is not None and user.is_active and is_genuine
    if reset is None or not is_fresh or account_fingerprint(user) != reset.bound_to:
        record(events.RESET_FAIL, request=request, user=user if is_genuine else None, reason=ResetInvalid.code)
        raise ResetInvalid
    return reset, user


def _of_uid(uid: str) -> PasswordReset | None:
    try:
        key = UUID(uid)
    except ValueError:
        return None
    return PasswordReset.objects.primary().open().select_related("user").filter(pk=key).first()


def purge(*, before: datetime) -> int:
    """Delete requests whose time was over before a moment. Returns how many."""
    return PasswordReset.objects.filter(expires_at__lt=before)._raw_delete(router.db_for_write(PasswordReset))
