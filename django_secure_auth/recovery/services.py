"""A forgotten password: a link is asked for, and a new password is stored. It never signs anybody in."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.apikeys import services as apikeys
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import (
    DeliveryUnavailable,
    InvalidCredentials,
    PasswordChangeRequired,
    PasswordRejected,
    RateLimited,
    ResetInvalid,
    StateUnavailable,
)
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.links import services as links
from django_secure_auth.links.models import MailedLink
from django_secure_auth.mail import address_of
from django_secure_auth.notices.services import tell
from django_secure_auth.notices.tasks import PURPOSE as NOT_ME
from django_secure_auth.otp import services as otp
from django_secure_auth.passwords.models import CompromisedPassword
from django_secure_auth.passwords.services import (
    is_compromised,
    is_password_of,
    judge_new_password,
    replace_password,
    scramble_password,
)
from django_secure_auth.ratelimit.services import give_back, reserve
from django_secure_auth.recovery.tasks import PURPOSE, send_reset
from django_secure_auth.request_scope import AnyRequest, scope_of
from django_secure_auth.sessions.services import end_all, lock_user
from django_secure_auth.sessions.state import account_fingerprint, password_fingerprint


def request_reset(request: AnyRequest, *, email: str) -> None:
    """Have a link mailed to the account of an address, if there is one.

    Nobody is looked for here: a row is written and the worker is told, so that a known and an unknown address cost the
    same. Raises LimitReached, StateUnavailable, or DeliveryUnavailable: the broker is away, or there is no `BASE_URL`
    for a link.
    """
    links.require_base_url()
    taken = (
        reserve("password_reset_address", address_prefix(scope_of(request).ip_address), request=request),
        reserve("password_reset", canonical_identifier(email), request=request),
    )
    link = links.make(PURPOSE, request=request, email=email, lifetime=conf.PASSWORD_RESET_TTL)
    record(events.RESET_REQUESTED, request=request, link_id=str(link.pk))
    links.mail_after_commit(link, send_reset, or_else=partial(give_back, *taken))


# --- a password that others know ---------------------------------------------------------------------


def mark_compromised(
    user: AbstractBaseUser,
    *,
    password: str | None = None,
    reason: str = "reported",
    actor: Any = None,
    request: AnyRequest | None = None,
) -> None:
    """Force another password: everybody is signed out, no device is trusted, and a link to choose one is mailed.

    Until then a right password is answered with `password_change_required`. Undone by any other password. With
    `password` that one alone is marked: nothing happens when the account has another by now. Raises
    StateUnavailable, having changed nothing. Source: NIST SP 800-63B-4 §3.1.1.2; ASVS 6.2.10.
    """
    using = router.db_for_write(CompromisedPassword)
    with transaction.atomic(using=using):
        # As it is stored now: somebody who signs in in this very moment may have it hashed anew.
        stored = lock_user(user.pk)
        if stored is None or (password is not None and not is_password_of(password, stored.password)):
            return
        CompromisedPassword.objects.using(using).update_or_create(
            user_id=user.pk,
            defaults={
                "password_fingerprint": password_fingerprint(stored.password),
                "reason": reason,
                "since": timezone.now(),
            },
        )
        otp.forget(user)
        end_all(user, reason="compromised", actor=actor)
    record(events.PASSWORD_COMPROMISED, request=request, user=user, actor=actor, reason=reason)
    _mail_forced_reset(user, request)


def refuse_compromised(request: AnyRequest, user: AbstractBaseUser, password: str) -> NoReturn:
    """Refuse a right password that others know too, and mail a link. `user` is as loaded before it was judged.

    Raises PasswordChangeRequired.
    """
    if is_compromised(user):
        record(events.LOGIN_FAIL, request=request, user=user, reason=PasswordChangeRequired.code)
        _mail_forced_reset(user, request)
    else:
        mark_compromised(user, password=password, reason="breached", request=request)
    raise PasswordChangeRequired


def _mail_forced_reset(user: AbstractBaseUser, request: AnyRequest | None) -> None:
    """Best effort: who gets none asks for one at `password/reset/`, under the same limits."""
    address = address_of(user)
    if not address:
        return
    try:
        links.require_base_url()
        reserve("password_reset", canonical_identifier(address), request=request)
    except (DeliveryUnavailable, RateLimited, StateUnavailable):
        return
    lifetime = conf.PASSWORD_RESET_TTL
    link = links.make(PURPOSE, request=request, email=address, lifetime=lifetime, payload={"is_forced": True})
    links.mail_after_commit(link, send_reset, robust=True)


# --- this was not me ---------------------------------------------------------------------------------


def disown(request: AnyRequest, *, uid: str, token: str) -> None:
    """Close an account off, whose owner says by the link of a notice that it was somebody else.

    All sessions and API keys end, no device is trusted, and the password is one that nobody knows: a reset comes next.
    Raises ResetInvalid, always the same.
    """
    link = links.judge(NOT_ME, uid=uid, token=token)
    if link is None:
        record(events.LINK_FAIL, request=request, purpose=NOT_ME)
        raise ResetInvalid
    user: Any = link.user
    with transaction.atomic(using=router.db_for_write(MailedLink)):
        if not links.use(link):
            raise ResetInvalid
        links.close_all(user, NOT_ME)  # one is enough, and nobody is to do it again after the reset
        links.close_all(user, PURPOSE)
        scramble_password(user)
        otp.forget(user)
        apikeys.revoke_all(user, reason="not_me")
        end_all(user, reason="not_me")
    record(events.DISOWNED, request=request, user=user, link_id=str(link.pk), told_of=link.payload.get("kind", ""))


# --- another password --------------------------------------------------------------------------------


def confirm_reset(request: AnyRequest, *, uid: str, token: str, new: str) -> None:
    """Store a new password for the holder of a mailed link, once. All sessions, devices and other links are over.

    A password that is refused uses nothing up. Raises ResetInvalid, always the same, PasswordRejected, or
    StateUnavailable. Call it outside of a transaction that a refusal rolls back. Source: ASVS 6.4.3, 7.4.3; NIST SP
    800-63B-4 §4.2.1.2; OWASP Forgot Password Cheat Sheet.
    """
    link = links.judge(PURPOSE, uid=uid, token=token)
    user: Any = link.user if link is not None else None
    if link is None or link.bound_to != account_fingerprint(user):
        record(events.RESET_FAIL, request=request, reason=ResetInvalid.code)
        raise ResetInvalid
    try:
        judge_new_password(new, user)
    except PasswordRejected:
        record(events.RESET_FAIL, request=request, user=user, link_id=str(link.pk), reason="policy")
        raise
    with transaction.atomic(using=router.db_for_write(MailedLink)):
        if not links.use(link):
            raise ResetInvalid  # of two with one link
        try:
            replace_password(user, new)
        except InvalidCredentials:  # it was changed in this very moment: the link is for what it was
            raise ResetInvalid from None
        links.close_all(user, PURPOSE)
        otp.forget(user)
        end_all(user, reason="password_reset")
    tell("reset_used", user, request=request)
    record(events.PASSWORD_RESET, request=request, user=user, link_id=str(link.pk))
    told = partial(signals.password_changed.send_robust, sender=user.__class__, user_id=user.pk, how="reset")
    transaction.on_commit(told, using=router.db_for_write(MailedLink))
