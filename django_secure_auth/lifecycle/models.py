"""Accounts whose owners want them closed."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, router
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from django_secure_auth.links.models import MailedLink
from django_secure_auth.sessions.models import Session


class AccountClosingQuerySet(models.QuerySet["AccountClosing"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would not know who has just come back."""
        return self.using(router.db_for_write(self.model))

    def came_back(self) -> Self:
        """Those whose owner has signed in since, or used a mailed link: a reset, or "this was not me"."""
        theirs = {"user": OuterRef("user")}
        has_session = Exists(Session.objects.own().filter(**theirs, created_at__gt=OuterRef("asked_at")))
        has_link = Exists(MailedLink.objects.filter(**theirs, used_at__gt=OuterRef("asked_at")))
        has_last_login = any(field.name == "last_login" for field in get_user_model()._meta.concrete_fields)
        # Django's admin opens no session of ours.
        elsewhere = Q(user__last_login__gt=F("asked_at")) if has_last_login else Q()
        return self.filter(Q(has_session) | Q(has_link) | elsewhere)


class AccountClosing(models.Model):
    """An account that is closed at `closes_at`, unless its owner signs in before."""

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="secure_auth_closing"
    )
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    closes_at = models.DateTimeField(editable=False)

    objects = AccountClosingQuerySet.as_manager()

    class Meta:
        ordering = ("closes_at",)
        indexes = [models.Index(fields=["closes_at"], name="secure_auth_closing_due")]

    def __str__(self) -> str:
        return f"closes {self.closes_at:%Y-%m-%d}"
