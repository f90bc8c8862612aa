"""Accounts whose owners want them closed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class AccountClosing(models.Model):
    """An account that is closed at `closes_at`, unless its owner signs in before."""

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="secure_auth_closing"
    )
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    closes_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ("closes_at",)
        indexes = [models.Index(fields=["closes_at"], name="secure_auth_closing_due")]

    def __str__(self) -> str:
        return f"closes {self.closes_at:%Y-%m-%d}"
