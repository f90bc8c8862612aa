"""One row per API key. It holds a keyed digest; the key itself was shown once, to whoever made it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, router
from django.db.models import F, Q
from django.utils import timezone


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would call a revoked key alive."""
        return self.using(router.db_for_write(self.model))

    def alive(self, now: datetime | None = None) -> Self:
        """Keys that are neither revoked nor over; one that is being replaced lives until its overlap ends."""
        now = now or timezone.now()
        return self.filter(Q(retires_at=None) | Q(retires_at__gt=now), revoked_at=None, expires_at__gt=now)

    def for_user(self, user: AbstractBaseUser) -> Self:
        return self.filter(user=user.pk)

    def over(self, *, before: datetime) -> Self:
        """Keys that ended, in whatever way, before a moment: what a purge may delete."""
        return self.filter(Q(revoked_at__lt=before) | Q(retires_at__lt=before) | Q(expires_at__lt=before))


class APIKey(models.Model):
    """`public_id` is its name, in the key's text, in lists and in the trail; `digest` proves the rest of the text."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    public_id = models.CharField(max_length=16, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="secure_auth_api_keys")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, editable=False)
    key_id = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list, blank=True)
    allowed_networks = models.JSONField(default=list, blank=True)
    rate_limit = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    retires_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The id of the key that this one took over from. No foreign key: a purge deletes that one first.
    replaces = models.UUIDField(null=True, blank=True, unique=True, editable=False)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["user", "revoked_at"], name="secure_auth_apikey_user"),
            models.Index(fields=["expires_at"], name="secure_auth_apikey_expiry"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="secure_auth_apikey_expires"),
        ]

    def __str__(self) -> str:
        return f"API key {self.public_id}"

    @property
    def is_alive(self) -> bool:
        now = timezone.now()
        ends: Any = (self.expires_at, self.retires_at)
        return self.revoked_at is None and all(end is None or end > now for end in ends)
