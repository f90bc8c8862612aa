"""One row per sign-in. Ending it ends everything that was ever issued for it."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, router
from django.db.models import F, Q
from django.utils import timezone

from django_secure_auth.conf import conf


def new_salt() -> str:
    return secrets.token_hex(16)


class SessionQuerySet(models.QuerySet["Session"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would call a revoked session alive."""
        return self.using(router.db_for_write(self.model))

    def alive(self, now: datetime | None = None) -> Self:
        """Sessions that are neither revoked nor past a deadline (the idle one with its slack)."""
        now = now or timezone.now()
        return self.alive_at(idle_since=now - conf.ACTIVITY_INTERVAL, now=now)

    def alive_at(self, *, idle_since: Any, now: Any) -> Self:
        """As `alive`, with both moments given, also as expressions."""
        return self.filter(revoked_at=None, idle_at__gt=idle_since, absolute_at__gt=now)

    def for_user(self, user: AbstractBaseUser) -> Self:
        return self.filter(user=user.pk)

    def own(self) -> Self:
        """Sessions that their users have opened themselves."""
        return self.filter(impersonator=None)

    def by_impersonator(self, user: AbstractBaseUser) -> Self:
        return self.filter(impersonator=user.pk)

    def under_password_of(self, session_id: Any) -> Self:
        """Sessions opened under the password of this one, which was just checked: another password ended the rest."""
        known = self.model._base_manager.filter(pk=session_id).values("password_fingerprint")
        return self.filter(password_fingerprint=known[:1])

    def over(self, *, before: datetime) -> Self:
        """Sessions that ended, in whatever way, before a moment: what a purge may delete."""
        return self.filter(Q(revoked_at__lt=before) | Q(idle_at__lt=before) | Q(absolute_at__lt=before))


class Session(models.Model):
    """`generation` counts rotations of the refresh token; the token itself is derived and stored nowhere."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="secure_auth_sessions")
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    password_fingerprint = models.CharField(max_length=32, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    rotated_at = models.DateTimeField(default=timezone.now, editable=False)
    acked = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now, editable=False)
    idle_at = models.DateTimeField(editable=False)
    absolute_at = models.DateTimeField(editable=False)
    remember_me = models.BooleanField(default=False, editable=False)
    amr = models.JSONField(default=list, editable=False)
    auth_time = models.DateTimeField(default=timezone.now, editable=False)
    ip_address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    user_agent = models.CharField(max_length=256, blank=True, editable=False)
    device_label = models.CharField(max_length=64, blank=True, editable=False)
    impersonator: models.ForeignKey[Any, Any] = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+", editable=False
    )
    impersonation_reason = models.CharField(max_length=200, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_reason = models.CharField(max_length=32, blank=True, editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["user", "revoked_at"], name="secure_auth_session_user"),
            models.Index(fields=["absolute_at"], name="secure_auth_session_abs"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(generation__gte=1), name="secure_auth_session_generation"),
            models.CheckConstraint(condition=Q(idle_at__lte=F("absolute_at")), name="secure_auth_session_deadlines"),
        ]

    def __str__(self) -> str:
        return f"session {self.id}"

    @property
    def is_alive(self) -> bool:
        now = timezone.now()
        return self.revoked_at is None and self.idle_at + conf.ACTIVITY_INTERVAL > now and self.absolute_at > now


def idle_timeout(*, remember_me: bool) -> Any:
    return conf.REMEMBER_IDLE_TIMEOUT if remember_me else conf.SESSION_IDLE_TIMEOUT


def absolute_timeout(*, remember_me: bool) -> Any:
    return conf.REMEMBER_ABSOLUTE_TIMEOUT if remember_me else conf.SESSION_ABSOLUTE_TIMEOUT
