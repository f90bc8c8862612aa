"""The one table; whose rows are whose stands in it, once."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from django_secure_auth.ownership.querysets import OwnedQuerySet
from django_secure_auth.strict.fields import SanitizedTextField

MAX_BODY = 10_000


class Note(models.Model):
    secure_auth_owner = "owner"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notes")
    title = models.CharField(max_length=200)
    body = SanitizedTextField(max_length=MAX_BODY, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    is_published = models.BooleanField(default=False)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-pk")
        indexes = [models.Index(fields=["owner", "-created_at"], name="notes_of_owner")]

    def __str__(self) -> str:
        return self.title
