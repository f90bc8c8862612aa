"""Open requests for a code, trusted devices, and the budget of wrong codes. None of them holds a secret."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, router
from django.db.models import F, Q
from django.utils import timezone

from django_secure_auth.conf import conf
from django_secure_auth.sessions.state import account_fingerprint


def new_nonce() -> str:
    return secrets.token_hex(16)


class OTPChallengeQuerySet(models.QuerySet["OTPChallenge"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would not know a challenge of a moment ago."""
        return self.using(router.db_for_write(self.model))

    def open(self, now: datetime | None = None) -> Self:
        """Challenges that a right code would still pass."""
        return self.filter(
            used_at=None, closed_at=None, expires_at__gt=now or timezone.now(), attempts__lt=conf.OTP_ATTEMPTS
        )

    def close(self, reason: str) -> int:
        return self.filter(used_at=None, closed_at=None).update(closed_at=timezone.now(), closed_reason=reason)


class OTPChallenge(models.Model):
    """What a mailed code is asked for, bound to one browser by the digest of a secret that only its cookie holds.

    The code is derived from `nonce`, `send_number` and a key of the server's, when it is mailed and when it
    is compared; it is stored nowhere.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(max_length=32, default="login", editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="secure_auth_challenges"
    )
    email = models.EmailField(max_length=254, editable=False)
    language = models.CharField(max_length=35, blank=True, editable=False)
    secret_digest = models.CharField(max_length=64, unique=True, editable=False)
    key_id = models.CharField(max_length=64, editable=False)
    nonce = models.CharField(max_length=32, default=new_nonce, editable=False)
    action_digest = models.CharField(max_length=64, blank=True, editable=False)
    account_fingerprint = models.CharField(max_length=32, blank=True, editable=False)
    payload = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    remember_me = models.BooleanField(default=False, editable=False)
    amr = models.JSONField(default=list, editable=False)
    send_number = models.PositiveSmallIntegerField(default=1, editable=False)
    mailed_number = models.PositiveSmallIntegerField(default=0, editable=False)
    mailing_at = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    resend_at = models.DateTimeField(editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_reason = models.CharField(max_length=32, blank=True, editable=False)
    ip_address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    device_label = models.CharField(max_length=64, blank=True, editable=False)

    objects = OTPChallengeQuerySet.as_manager()

    class Meta:
        verbose_name = "OTP challenge"
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["expires_at"], name="secure_auth_challenge_expiry")]
        constraints = [
            models.CheckConstraint(
                condition=Q(mailed_number__lte=F("send_number")), name="secure_auth_challenge_mailed"
            ),
        ]

    def __str__(self) -> str:
        return f"challenge {self.id}"

    @property
    def account_is_unchanged(self) -> bool:
        """Whether the account is active and has the password and address that it had when this began.

        True for what was begun without one.
        """
        user: Any = self.user
        if user is None:
            return not self.account_fingerprint  # there was none, as at a registration
        return user.is_active and self.account_fingerprint == account_fingerprint(user)


class TrustedDeviceQuerySet(models.QuerySet["TrustedDevice"]):
    def alive(self, now: datetime | None = None) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=now or timezone.now())

    def for_user(self, user: AbstractBaseUser) -> Self:
        return self.filter(user=user.pk)


class TrustedDevice(models.Model):
    """A browser in which a user has signed in. The table holds a keyed digest of its cookie.

    It has a budget of guesses of its own, which no stranger can use up; with an approved code it is trusted.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="secure_auth_devices")
    secret_digest = models.CharField(max_length=64, editable=False)
    is_approved = models.BooleanField(default=True, editable=False)
    label = models.CharField(max_length=64, blank=True, editable=False)
    ip_address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TrustedDeviceQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = [
            models.UniqueConstraint(fields=["secret_digest", "user"], name="secure_auth_device_secret"),
        ]

    def __str__(self) -> str:
        return self.label or f"device {self.id}"

    @property
    def is_alive(self) -> bool:
        return self.revoked_at is None and self.expires_at > timezone.now()


class OTPBudgetQuerySet(models.QuerySet["OTPBudget"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would know of fewer wrong codes."""
        return self.using(router.db_for_write(self.model))


class OTPBudget(models.Model):
    """Wrong codes in a row of one account, over all its challenges: a new code brings no new budget.

    At the limit (`OTP_ACCOUNT_ATTEMPTS`) no code is sent or accepted until the row is reset; passwords on
    trusted devices go on working.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="secure_auth_otp_budget"
    )
    wrong_in_a_row = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OTPBudgetQuerySet.as_manager()

    class Meta:
        verbose_name = "OTP budget"

    def __str__(self) -> str:
        return f"{self.wrong_in_a_row} wrong in a row"
