"""Start, resend, verify and close challenges; trust devices. Count, compare, consume: in this order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone, translation

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.exceptions import (
    ChallengeInvalid,
    DeliveryUnavailable,
    OTPInvalid,
    PolicyRejected,
    RateLimited,
    SecureAuthError,
    rate_limit_headers,
)
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.kit.opaque import OpaqueInvalid, digest_secret, new_secret
from django_secure_auth.mail import address_of, deliver
from django_secure_auth.notices.services import tell
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from django_secure_auth.otp.policy import action_digest, current_key, is_right_code
from django_secure_auth.otp.tasks import send_code
from django_secure_auth.prepared import Param, PreparedSelect
from django_secure_auth.ratelimit.services import Reservation, give_back, reserve
from django_secure_auth.request_scope import AnyRequest, scope_of
from django_secure_auth.sessions.state import account_fingerprint

_CHALLENGE = "challenge"
_DEVICE = "device"
_BEHIND_A_PASSWORD = frozenset({"login", "admin"})
_BUDGET_HINT = 3600
"""Seconds. The budget of wrong codes has no window: it comes back with a reset, which somebody has to ask for."""


@dataclass(frozen=True, slots=True)
class Started:
    """A challenge and the secret for its browser's cookie, which exists here only."""

    challenge: OTPChallenge
    secret: str

    def __repr__(self) -> str:
        return f"<Started {self.challenge.pk}>"


# --- challenges --------------------------------------------------------------------------------------


def start(
    user: AbstractBaseUser | None,
    *,
    purpose: str,
    request: AnyRequest,
    amr: Iterable[str],
    remember_me: bool = False,
    action: str = "",
    address: str = "",
    payload: dict[str, Any] | None = None,
) -> Started:
    """Open a challenge and have its code mailed after commit. With `action` the code is good for that alone.

    The code goes to the user's address, or to `address`, which is to be proven. `payload` is what the approval is to
    make of it, and holds no secret.

    Raises PolicyRejected (no address), LimitReached (too many codes for this account), RateLimited (the account's
    budget of wrong codes is used up) or DeliveryUnavailable (the broker or mail server is away; no challenge stays
    open).
    """
    address = address or (address_of(user) if user is not None else "")
    if not address:
        raise PolicyRejected(errors={"email": ["This account has no e-mail address for a code."]})
    user_id = user.pk if user is not None else None
    _refuse_without_budget(user_id, request)
    taken = _reserve_send(user, address, request)
    now = timezone.now()
    scope = scope_of(request)
    secret = new_secret()
    challenge = OTPChallenge(
        purpose=purpose,
        user_id=user_id,
        email=address,
        language=translation.get_language() or "",
        secret_digest=digest_secret(secret, secret_ring(_CHALLENGE))[0],
        key_id=current_key().key_id,
        action_digest=action_digest(action),
        account_fingerprint=account_fingerprint(user) if user is not None else "",
        payload=payload or {},
        remember_me=remember_me,
        amr=list(amr),
        created_at=now,
        expires_at=now + conf.OTP_TTL,
        resend_at=now + conf.OTP_RESEND_INTERVAL,
        ip_address=scope.ip_address,
        device_label=scope.device_label,
    )
    challenge.save(force_insert=True)
    _send_after_commit(challenge, taken)
    return Started(challenge, secret)


def _reserve_send(user: AbstractBaseUser | None, address: str, request: AnyRequest) -> tuple[Reservation | None, ...]:
    """Count a mail for the account that asks, and for an address that is not its own: nobody's mailbox is flooded."""
    own = () if user is None else (reserve("otp", str(user.pk), request=request),)
    if user is not None and address == address_of(user):
        return own
    try:
        return (*own, reserve("otp_address", canonical_identifier(address), request=request))
    except SecureAuthError:
        give_back(*own)
        raise


def _send_after_commit(challenge: OTPChallenge, taken: tuple[Reservation | None, ...]) -> None:
    transaction.on_commit(partial(_send, challenge, taken), using=router.db_for_write(OTPChallenge))


def _send(challenge: OTPChallenge, taken: tuple[Reservation | None, ...]) -> None:
    try:
        deliver(send_code, str(challenge.pk), expires=conf.OTP_TTL)
    except DeliveryUnavailable:
        give_back(*taken)  # a broker that is away must not use up what is for codes that were sent
        OTPChallenge.objects.filter(pk=challenge.pk).close("undelivered")
        record(events.OTP_UNDELIVERED, user=challenge.user_id, challenge_id=str(challenge.pk), reason="broker")
        raise


def is_for(challenge: OTPChallenge, action: str) -> bool:
    """Tell whether a challenge was started for this very action."""
    return challenge.action_digest == action_digest(action)


def find(secret: str | None) -> OTPChallenge:
    """Return the open challenge of a browser's secret, with its user.

    It is open only while the account is as it was: deactivation, another password or another address closes it
    by itself.
    Raises ChallengeInvalid, always the same.
    """
    challenge = _of_secret(secret)
    if challenge is None or not _is_open(challenge):
        raise ChallengeInvalid
    return challenge


def _of_secret(secret: str | None) -> OTPChallenge | None:
    if not secret:
        return None
    try:
        digests = digest_secret(secret, secret_ring(_CHALLENGE))
    except OpaqueInvalid:
        return None
    return OTPChallenge.objects.primary().select_related("user").filter(secret_digest__in=digests).first()


def _is_open(challenge: OTPChallenge) -> bool:
    return (
        challenge.used_at is None
        and challenge.closed_at is None
        and challenge.expires_at > timezone.now()
        and challenge.attempts < conf.OTP_ATTEMPTS
        and challenge.account_is_unchanged
    )


def verify(challenge: OTPChallenge, code: str, *, request: AnyRequest) -> None:
    """Judge a code and consume the challenge: of parallel guesses five are judged, of right ones one passes.

    The attempt is counted by a conditional UPDATE before the code is compared, and each step survives a
    failure of the next. Call it outside of a transaction that a refusal rolls back.

    Raises ChallengeInvalid or OTPInvalid (`attempts_left`). Source: ASVS 6.5.1, 6.6.3; NIST SP 800-63B-4 §3.1.3.2.
    """
    counted = OTPChallenge.objects.open().filter(pk=challenge.pk).update(attempts=F("attempts") + 1)
    if not counted or not _count_against_account(challenge.user_id):
        raise ChallengeInvalid
    if not is_right_code(challenge, code):
        _refuse(challenge, request)
    # A resend in between has changed the code; an expiry in between has closed the challenge.
    consumed = OTPChallenge.objects.filter(
        pk=challenge.pk, used_at=None, closed_at=None, send_number=challenge.send_number, expires_at__gt=timezone.now()
    ).update(used_at=timezone.now())
    if not consumed:
        raise ChallengeInvalid
    OTPBudget.objects.filter(user=challenge.user_id).update(wrong_in_a_row=0)
    record(
        events.OTP_APPROVED, request=request, user=challenge.user_id, challenge_id=str(challenge.pk),
        purpose=challenge.purpose,
    )  # fmt: skip
    told = partial(
        signals.otp_approved.send_robust, sender=OTPChallenge, challenge_id=challenge.pk,
        user_id=challenge.user_id, purpose=challenge.purpose,
    )  # fmt: skip
    transaction.on_commit(told, using=router.db_for_write(OTPChallenge))


def _refuse(challenge: OTPChallenge, request: AnyRequest) -> None:
    used = OTPChallenge.objects.primary().filter(pk=challenge.pk).values_list("attempts", flat=True).first()
    if used is None:  # deleted meanwhile, with its account
        raise ChallengeInvalid
    left = max(0, conf.OTP_ATTEMPTS - used)
    event = events.OTP_FAIL if left else events.OTP_FAIL_MAX
    if not left and challenge.purpose in _BEHIND_A_PASSWORD and challenge.user is not None:
        tell("wrong_codes", challenge.user, request=request)
    record(event, request=request, user=challenge.user_id, challenge_id=str(challenge.pk), attempts_left=left)
    raise OTPInvalid(attempts_left=left)


def resend(challenge: OTPChallenge, *, request: AnyRequest) -> OTPChallenge:
    """Mail a fresh code; the old one is dead from this moment. The attempts stay what they were.

    Raises ChallengeInvalid, DeliveryUnavailable, or RateLimited (too early, sent often enough, or the account's
    budget of wrong codes is used up).
    """
    _refuse_without_budget(challenge.user_id, request)
    taken = _reserve_send(challenge.user, challenge.email, request)
    now = timezone.now()
    moved = (
        OTPChallenge.objects.open(now)
        .filter(pk=challenge.pk, resend_at__lte=now, send_number__lte=conf.OTP_RESENDS)
        .update(
            send_number=F("send_number") + 1, resend_at=now + conf.OTP_RESEND_INTERVAL, expires_at=now + conf.OTP_TTL
        )
    )
    if not moved:
        give_back(*taken)  # nothing is sent: an impatient click costs nothing
    later = OTPChallenge.objects.primary().select_related("user").filter(pk=challenge.pk).first()
    if later is None:  # deleted meanwhile, with its account
        raise ChallengeInvalid
    challenge = later
    if not moved:
        if not _is_open(challenge):
            raise ChallengeInvalid
        free_at = challenge.resend_at if challenge.send_number <= conf.OTP_RESENDS else challenge.expires_at
        raise RateLimited(headers=_wait_headers(free_at, now))
    _send_after_commit(challenge, taken)
    return challenge


def _wait_headers(free_at: datetime, now: datetime) -> dict[str, str]:
    wait = max(1, math.ceil((free_at - now).total_seconds()))
    window = max(1, round(conf.OTP_RESEND_INTERVAL.total_seconds()))
    return rate_limit_headers("otp_resend", quota=1, window=window, wait=wait)


def close(secret: str | None, *, reason: str) -> None:
    """Close the challenge of a browser's secret, if it has one that is open."""
    challenge = _of_secret(secret)
    if challenge is not None:
        OTPChallenge.objects.filter(pk=challenge.pk).close(reason)


# --- the account's budget ----------------------------------------------------------------------------


def _refuse_without_budget(user_id: Any, request: AnyRequest) -> None:
    if user_id is None:
        return
    used_up = OTPBudget.objects.primary().filter(user=user_id, wrong_in_a_row__gte=conf.OTP_ACCOUNT_ATTEMPTS)
    if used_up.exists():
        record(events.OTP_FAIL_MAX, request=request, user=user_id, reason="account_budget")
        raise RateLimited(
            "Too many wrong codes for this account. Use a device that you have used before, or reset the password.",
            headers=rate_limit_headers(
                "otp_account", quota=conf.OTP_ACCOUNT_ATTEMPTS, window=_BUDGET_HINT, wait=_BUDGET_HINT
            ),
        )


def _count_against_account(user_id: Any) -> bool:
    """Count one wrong code in advance; a right one resets it. Returns whether there was one left."""
    if user_id is None:  # a registration: what is guessed there opens nobody's account
        return True
    budget = OTPBudget.objects.filter(user=user_id)
    free = budget.filter(wrong_in_a_row__lt=conf.OTP_ACCOUNT_ATTEMPTS)
    if free.update(wrong_in_a_row=F("wrong_in_a_row") + 1, changed_at=timezone.now()):
        return True
    if not budget.primary().exists():
        try:
            with transaction.atomic(using=router.db_for_write(OTPBudget)):
                OTPBudget(user_id=user_id, wrong_in_a_row=1).save(force_insert=True)
            return True
        except IntegrityError:  # made by a parallel guess a moment ago
            pass
    # Used up; or the row was made between the update and the look: count on that one.
    return bool(free.update(wrong_in_a_row=F("wrong_in_a_row") + 1, changed_at=timezone.now()))


# --- devices -----------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _users_of(digests: int) -> PreparedSelect:
    # One statement for each number of keys that a digest may have been made with: one, and the fallbacks.
    wanted = [Param(f"digest_{number}", TrustedDevice, "secret_digest") for number in range(digests)]
    now: Any = Param("now", TrustedDevice, "expires_at")
    return PreparedSelect(
        lambda: (
            TrustedDevice.objects.alive(now)
            .filter(secret_digest__in=wanted)
            .order_by()
            .values_list("user_id", "is_approved")
        )
    )


def users_of_device(secret: str | None) -> dict[Any, bool]:
    """Return the ids of the users who have signed in with the browser that holds this secret; True: with a code.

    One query; none on noise. Asked without naming a user, so that a known and an unknown account cost the same.
    """
    if not secret:
        return {}
    try:
        digests = digest_secret(secret, secret_ring(_DEVICE))
    except OpaqueInvalid:
        return {}
    wanted = {f"digest_{number}": digest for number, digest in enumerate(digests)}
    return dict(_users_of(len(digests)).rows(now=timezone.now(), **wanted))


def trust_device(user: AbstractBaseUser, *, secret: str | None, request: AnyRequest) -> str:
    """Trust this browser for a user who just approved a code in it; returns the secret for its cookie."""
    fresh = _bind_device(user, secret=secret, request=request, is_approved=True)
    record(events.DEVICE_TRUSTED, request=request, user=user)
    return fresh


def remember_device(user: AbstractBaseUser, *, secret: str | None, request: AnyRequest) -> str:
    """Note that a user has signed in with this browser, without a code; returns the secret for its cookie.

    It is not trusted, but has its own budget of guesses: strangers who use up theirs lock nobody out of it.
    """
    return _bind_device(user, secret=secret, request=request, is_approved=False)


def _bind_device(user: AbstractBaseUser, *, secret: str | None, request: AnyRequest, is_approved: bool) -> str:
    """Write the row of a user and a browser.

    The secret is drawn anew each time, and moved for the others who share the browser: a value that somebody
    planted beforehand, and therefore knows, becomes worth nothing.
    """
    fresh = new_secret()
    digest = digest_secret(fresh, secret_ring(_DEVICE))[0]
    scope = scope_of(request)
    if users_of_device(secret):
        old = digest_secret(str(secret), secret_ring(_DEVICE))
        shared = TrustedDevice.objects.filter(secret_digest__in=old)
        shared.filter(user=user.pk).delete()
        shared.update(secret_digest=digest)
    TrustedDevice(
        user_id=user.pk,
        secret_digest=digest,
        is_approved=is_approved,
        label=scope.device_label,
        ip_address=scope.ip_address,
        expires_at=timezone.now() + conf.TRUSTED_DEVICE_TTL,
    ).save(force_insert=True)
    return fresh


def is_device(device: TrustedDevice, secret: str | None) -> bool:
    """Tell whether a browser's secret is that of a device."""
    try:
        return bool(secret) and device.secret_digest in digest_secret(str(secret), secret_ring(_DEVICE))
    except OpaqueInvalid:
        return False


def distrust(user: AbstractBaseUser, device_id: Any, *, request: AnyRequest) -> bool:
    """Trust one device no more: the next sign-in there asks for a code. False when it is not one of the user's."""
    own = TrustedDevice.objects.for_user(user).alive().filter(pk=device_id)
    if not own.update(revoked_at=timezone.now()):
        return False
    record(events.DEVICE_DISTRUSTED, request=request, user=user, device_id=str(device_id))
    return True


def forget(user: AbstractBaseUser) -> None:
    """Trust none of a user's devices any more, close what is open, and give the budget of wrong codes back."""
    TrustedDevice.objects.for_user(user).filter(revoked_at=None).update(revoked_at=timezone.now())
    OTPChallenge.objects.filter(user=user.pk).close("reset")
    OTPBudget.objects.filter(user=user.pk).update(wrong_in_a_row=0)


def purge(*, before: datetime) -> int:
    """Delete challenges and devices that were over before a moment. Returns how many.

    What a registration has brought along goes as soon as it is over: a hash of a password, for an account that is none.
    """
    OTPChallenge.objects.filter(expires_at__lt=timezone.now()).exclude(payload={}).update(payload={})
    return sum(
        model.objects.filter(expires_at__lt=before)._raw_delete(router.db_for_write(model))
        for model in (OTPChallenge, TrustedDevice)
    )
