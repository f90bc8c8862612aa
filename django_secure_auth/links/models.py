"""Links in mails: each works once. The table holds no token."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, router
from django.utils import timezone

from django_secure_auth.kit.identifiers import MAX_IDENTIFIER


def new_nonce() -> str:
    return secrets.token_hex(16)


class MailedLinkQuerySet(models.QuerySet["MailedLink"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would call a used link fresh."""
        return self.using(router.db_for_write(self.model))

    def open(self, now: datetime | None = None) -> Self:
        return self.filter(used_at=None, closed_at=None, expires_at__gt=now or timezone.now())

    def close(self, reason: str) -> int:
        return self.filter(used_at=None, closed_at=None).update(closed_at=timezone.now(), closed_reason=reason)


class MailedLink(models.Model):
    """What a link does is its `purpose`. The user may be unknown when it is asked for: the worker finds out.

    The token is derived from `nonce`, `bound_to` and a key of the server's, when it is mailed and when it is judged.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(max_length=32, editable=False)
    email = models.CharField(max_length=MAX_IDENTIFIER, editable=False)
    user: models.ForeignKey[Any, Any] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="secure_auth_links"
    )
    bound_to = models.CharField(max_length=32, blank=True, editable=False)
    payload = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    nonce = models.CharField(max_length=32, default=new_nonce, editable=False)
    key_id = models.CharField(max_length=64, editable=False)
    language = models.CharField(max_length=35, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    mailed_at = models.DateTimeField(null=True, blank=True, editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_reason = models.CharField(max_length=32, blank=True, editable=False)
    ip_address = models.GenericIPAddressField(null=True, blank=True, editable=False)
    device_label = models.CharField(max_length=64, blank=True, editable=False)

    objects = MailedLinkQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["expires_at"], name="secure_auth_link_expiry")]

    def __str__(self) -> str:
        return f"link {self.id}"
