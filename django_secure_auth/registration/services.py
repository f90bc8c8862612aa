"""Opening an account: the address is proven before there is anything to sign in to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, router, transaction

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import ChallengeInvalid, Forbidden, PasswordRejected, PolicyRejected
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.passwords.services import find_account, judge_new_password
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.registration.models import AddressClaim
from django_secure_auth.request_scope import AnyRequest, scope_of

PURPOSE = "register"


def start(request: AnyRequest, *, email: str, password: str, fields: dict[str, Any]) -> otp.Started:
    """Have a code mailed to an address that wants an account. Nobody is looked for, and there is no account yet.

    Password and fields stay with the challenge, and the one whose code is approved counts: nobody prepares an account,
    or its password, for its owner. What the mail says, the worker decides: an address that has an account gets no code.

    Raises Forbidden, LimitReached, PolicyRejected, PasswordRejected, DeliveryUnavailable, StateUnavailable.
    """
    if not conf.REGISTRATION_OPEN:
        raise Forbidden("Registration is closed.")
    reserve("register", address_prefix(scope_of(request).ip_address), request=request)
    address = canonical_identifier(email)
    why_not = conf.REGISTRATION_POLICY(address) if conf.REGISTRATION_POLICY is not None else None
    if why_not is not None:
        record(events.REGISTER_FAIL, request=request, reason="policy")
        raise PolicyRejected(errors={"email": [str(why_not)]})
    try:
        judge_new_password(password, _unsaved(address, fields), field="password")
    except PasswordRejected:
        record(events.REGISTER_FAIL, request=request, reason="password")
        raise
    payload = {"password": make_password(password), "fields": fields}
    return otp.start(None, purpose=PURPOSE, request=request, amr=["pwd"], address=address, payload=payload)


def _unsaved(address: str, fields: dict[str, Any]) -> AbstractBaseUser:
    model = get_user_model()
    values = {model.get_email_field_name(): address, **fields}
    # A name that nobody is known by: an address in it would be a second copy, which does not follow a change.
    values.setdefault(model.USERNAME_FIELD, f"user-{secrets.token_hex(8)}")
    return model(**values)


def open_account(request: AnyRequest, challenge: OTPChallenge) -> AbstractBaseUser:
    """Make the account that an approved challenge is for. Raises ChallengeInvalid when the address has one by now."""
    user = _unsaved(challenge.email, challenge.payload["fields"])
    user.password = challenge.payload["password"]
    try:
        with claimed(challenge.email):
            user.save(force_insert=True)
    except IntegrityError:  # a field of the project's own that is unique
        raise ChallengeInvalid from None
    record(events.REGISTERED, request=request, user=user, challenge_id=str(challenge.pk))
    return user


@contextmanager
def claimed(address: str) -> Iterator[None]:
    """Hold an address that is nobody's while it is made an account's; of two at once the second waits, and loses.

    Raises ChallengeInvalid when it is somebody's by then.
    """
    using = router.db_for_write(AddressClaim)
    with transaction.atomic(using=using):
        claim = AddressClaim(address=canonical_identifier(address))
        claim.save(force_insert=True)
        if find_account(address) is not None:
            raise ChallengeInvalid
        yield
        claim.delete()
