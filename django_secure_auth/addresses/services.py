"""An address is proven, then it is an account's: a new account, or another address of one."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, router, transaction
from django.utils import timezone

from django_secure_auth.addresses.models import AddressClaim
from django_secure_auth.addresses.tasks import UNDO, send_undo
from django_secure_auth.apikeys import services as apikeys
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import (
    ChallengeInvalid,
    Forbidden,
    PasswordRejected,
    PolicyRejected,
    ResetInvalid,
    SessionRevoked,
)
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.links import services as links
from django_secure_auth.mail import address_of
from django_secure_auth.notices.services import tell, told_here
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.passwords.services import find_account, judge_new_password, scramble_password
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.request_scope import AnyRequest, scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all, lock_user, require_open

REGISTER, CHANGE = "register", "email_change"


@contextmanager
def claimed(address: str) -> Iterator[None]:
    """Hold an address that is nobody's while it is made an account's; of two at once the second waits, and loses.

    Raises ChallengeInvalid when it is somebody's by then.
    """
    using = router.db_for_write(AddressClaim)
    claims = AddressClaim.objects.using(using)
    key = hashlib.sha256(canonical_identifier(address).encode()).hexdigest()
    claims.get_or_create(key=key)  # committed: a row of a moment ago, inserted by several at once, makes a deadlock
    try:
        with transaction.atomic(using=using):
            # A write, so that whoever comes second waits here on every database, and reads what the first has made.
            claims.filter(pk=key).update(taken_at=timezone.now())
            if find_account(address) is not None:
                raise ChallengeInvalid
            yield
    except IntegrityError:  # a unique column of the user model has known it, or knows another field of the project's
        raise ChallengeInvalid from None


def purge(*, before: datetime) -> int:
    """Delete claims that were taken before a moment. Returns how many."""
    return AddressClaim.objects.filter(taken_at__lt=before)._raw_delete(router.db_for_write(AddressClaim))


def _refuse_by_policy(address: str, request: AnyRequest) -> None:
    why_not = conf.ADDRESS_POLICY(address) if conf.ADDRESS_POLICY is not None else None
    if why_not is not None:
        record(events.REGISTER_FAIL, request=request, reason="policy")
        raise PolicyRejected(errors={"email": [str(why_not)]})


# --- a new account -----------------------------------------------------------------------------------


def start_registration(request: AnyRequest, *, email: str, password: str, fields: dict[str, Any]) -> otp.Started:
    """Have a code mailed to an address that wants an account. Nobody is looked for, and there is no account yet.

    Password and fields stay with the challenge, and the one whose code is approved counts: nobody prepares an account,
    or its password, for its owner. What the mail says, the worker decides: an address that has an account gets no code.

    Raises Forbidden, LimitReached, PolicyRejected, PasswordRejected, DeliveryUnavailable, StateUnavailable.
    """
    if not conf.REGISTRATION_OPEN:
        raise Forbidden("Registration is closed.")
    reserve("register", address_prefix(scope_of(request).ip_address), request=request)
    address = canonical_identifier(email)
    _refuse_by_policy(address, request)
    try:
        judge_new_password(password, _unsaved(address, fields), field="password")
    except PasswordRejected:
        record(events.REGISTER_FAIL, request=request, reason="password")
        raise
    payload = {"password": make_password(password), "fields": fields}
    return otp.start(None, purpose=REGISTER, request=request, amr=["pwd"], address=address, payload=payload)


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
    with claimed(challenge.email):
        user.save(force_insert=True)
        OTPChallenge.objects.filter(pk=challenge.pk).update(payload={})  # the account has it now
    record(events.REGISTERED, request=request, user=user, challenge_id=str(challenge.pk))
    return user


# --- another address ---------------------------------------------------------------------------------


def start_change(request: AnyRequest, session: Session, *, email: str) -> otp.Started:
    """Have a code mailed to another address of an account. It holds when the code is approved, in this session.

    Nobody is told whether the address has an account: the mail to it says so. Raises PolicyRejected, LimitReached,
    DeliveryUnavailable, StateUnavailable.
    """
    links.require_base_url()  # for the link that undoes it
    address, user = canonical_identifier(email), session.user
    if address == canonical_identifier(address_of(user)):
        raise PolicyRejected(errors={"new_email": ["This is your address already."]})
    _refuse_by_policy(address, request)
    return otp.start(user, purpose=CHANGE, request=request, amr=[], address=address, action=str(session.pk))


def change(request: AnyRequest, session: Session, challenge: OTPChallenge) -> AbstractBaseUser:
    """Make a proven address that of the account, and tell the one before how to undo it for `EMAIL_UNDO_TTL`.

    Reset links and codes that were mailed to the old one are dead, being bound to it. Raises ChallengeInvalid when the
    address has an account by now, and SessionRevoked when somebody ends the session in this very moment: a link for
    another password must not go to whoever was thrown out.
    """
    with claimed(challenge.email):
        user = lock_user(challenge.user_id)
        if user is None:
            raise SessionRevoked
        require_open(session.pk, user)
        old = address_of(user)
        _set_address(user, challenge.email)
        tell("email_changed", user, request=request)
        undo = links.make(UNDO, request=request, email=old, user=user, lifetime=conf.EMAIL_UNDO_TTL)
        links.mail_after_commit(undo, send_undo, robust=True)
    record(events.EMAIL_CHANGED, request=request, user=user, session_id=session.pk)
    return user  # type: ignore[no-any-return]  # of whatever model the project has


def _set_address(user: Any, address: str) -> None:
    name = user.get_email_field_name()
    setattr(user, name, address)
    with told_here(user):
        user.save(update_fields=[name])


def undo_change(request: AnyRequest, *, uid: str, token: str) -> None:
    """Give an account the address back that it had before: for the owner, whom somebody else has written out.

    All sessions and API keys end, no device is trusted, and the password is one that nobody knows: a reset comes next.
    Later changes are undone with it. Raises ResetInvalid, always the same, also when the address is another account's
    by now.
    """
    link = links.judge(UNDO, uid=uid, token=token)
    if link is None:
        record(events.LINK_FAIL, request=request, purpose=UNDO)
        raise ResetInvalid
    user: Any = link.user
    try:
        with claimed(link.email):
            if not links.use(link):
                raise ResetInvalid
            links.close_all(user, UNDO, since=link.created_at)  # the intruder's, of changes that came after
            _set_address(user, link.email)
            scramble_password(user)
            otp.forget(user)
            apikeys.revoke_all(user, reason="email_change_undone")
            end_all(user, reason="email_change_undone")
    except ChallengeInvalid:
        raise ResetInvalid from None
    record(events.EMAIL_CHANGE_UNDONE, request=request, user=user, link_id=str(link.pk))
