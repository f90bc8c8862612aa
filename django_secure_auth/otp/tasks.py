"""The worker's door: a challenge id comes in, one mail goes out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.mail import send_templated, where
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.otp.policy import code_of
from django_secure_auth.passwords.services import find_account

LEASE = timedelta(seconds=20)
"""How long one worker may take to hand a mail over before another may try: longer than a mail server takes."""
_MAX_RETRIES = 6

PURPOSES = {
    "login": _("sign in"),
    "admin": _("sign in to the administration"),
    "reauthenticate": _("confirm that it is you"),
    "register": _("open an account"),
    "email_change": _("use this address for your account"),
    "approval": _("approve an action"),
    "device": _("trust this device"),
}
_SIGN_INS = frozenset({"login", "admin"})
PROVES_ADDRESS = frozenset({"register", "email_change"})
"""For these an address is to be proven that must not be an account's yet. Whoever has it is told by the mail alone."""
"""What a code is good for, in the words of its mail."""


@shared_task(
    bind=True,
    name="django_secure_auth.otp.tasks.send_code",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=_MAX_RETRIES,
)
def send_code(self: Task[Any, Any], challenge_id: str) -> None:
    """Mail the present code of a challenge, once for each time it was asked for.

    The message may be delivered twice, and a worker may die in between: who sends takes a lease first, and
    notes the number of the send afterwards. Whoever comes while the lease runs comes again when it is over.
    A worker that dies after the mail server took the mail and before the note makes a second mail with the
    same code; no order of two systems without a common transaction avoids both.
    """
    challenge = OTPChallenge.objects.primary().open().select_related("user").filter(pk=challenge_id).first()
    if challenge is None or challenge.mailed_number >= challenge.send_number:
        return
    if not challenge.account_is_unchanged:  # least of all to an address that is no longer the account's
        OTPChallenge.objects.filter(pk=challenge.pk).close("account_changed")
        return
    code = code_of(challenge)
    if code is None:
        OTPChallenge.objects.filter(pk=challenge.pk).close("key_retired")
        return
    if not _take_lease(challenge):
        raise self.retry(countdown=_until_lease_ends(challenge))
    try:
        is_taken = challenge.purpose in PROVES_ADDRESS and find_account(challenge.email) is not None
        send_templated(
            "address_taken" if is_taken else "otp_code",
            to=challenge.email,
            context={
                **({} if is_taken else {"code": code}),
                "challenge": challenge,
                "place": where(challenge.ip_address, language=challenge.language),
                "purpose": PURPOSES.get(challenge.purpose, challenge.purpose),
                "minutes": _minutes(conf.OTP_TTL),
                "is_sign_in": challenge.purpose in _SIGN_INS,
                # Of a registration the payload is not for a mail.
                "action": challenge.payload.get("action", ""),
                "parameters": challenge.payload.get("parameters", {}),
            },
            language=challenge.language or None,
        )
    except Exception as error:
        _give_up_lease(challenge)
        if self.request.is_eager:
            raise
        if self.request.retries >= _MAX_RETRIES:
            record(events.OTP_UNDELIVERED, user=challenge.user_id, challenge_id=str(challenge.pk), reason="mail")
            raise
        raise self.retry(exc=error, countdown=2**self.request.retries) from error
    OTPChallenge.objects.filter(pk=challenge.pk).update(mailed_number=challenge.send_number, mailing_at=None)
    record(events.OTP_SENT, user=challenge.user_id, challenge_id=str(challenge.pk), purpose=challenge.purpose)
    signals.otp_sent.send_robust(
        sender=OTPChallenge, challenge_id=challenge.pk, user_id=challenge.user_id, purpose=challenge.purpose
    )


def _minutes(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() / 60))


def _take_lease(challenge: OTPChallenge) -> bool:
    now = timezone.now()
    free = Q(mailing_at=None) | Q(mailing_at__lt=now - LEASE)
    mine = OTPChallenge.objects.filter(free, pk=challenge.pk, mailed_number__lt=F("send_number"))
    return mine.update(mailing_at=now) == 1


def _until_lease_ends(challenge: OTPChallenge) -> float:
    """Return the seconds after which the mail may be sent by another, if it was not sent by then."""
    taken_at = OTPChallenge.objects.primary().values_list("mailing_at", flat=True).filter(pk=challenge.pk).first()
    left = taken_at + LEASE - timezone.now() if taken_at else timedelta(0)
    return max(1.0, left.total_seconds())


def _give_up_lease(challenge: OTPChallenge) -> None:
    OTPChallenge.objects.filter(pk=challenge.pk).update(mailing_at=None)
