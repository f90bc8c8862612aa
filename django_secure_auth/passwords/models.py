"""Passwords that somebody else knows: their owner chooses another one before anything else."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class CompromisedPassword(models.Model):
    """A row says that the password with this fingerprint is known to others. Another password makes it void.

    Source: NIST SP 800-63B-4 §3.1.1.2 (a change is forced when there is evidence of compromise), ASVS 6.2.10.
    """

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="secure_auth_compromised"
    )
    password_fingerprint = models.CharField(max_length=32, editable=False)
    reason = models.CharField(max_length=32, default="reported")
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-since",)

    def __str__(self) -> str:
        return f"compromised since {self.since:%Y-%m-%d}"
