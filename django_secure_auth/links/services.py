"""Make a link, have it mailed, judge it, use it up: each once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import Task
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.utils import timezone, translation

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import DeliveryUnavailable
from django_secure_auth.kit.opaque import is_equal
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.policy import current_key, token_of
from django_secure_auth.mail import deliver
from django_secure_auth.request_scope import AnyRequest, current_scope, scope_of

logger = logging.getLogger("django_secure_auth")


def require_base_url() -> None:
    """Raise DeliveryUnavailable while there is no `BASE_URL` for a link."""
    if not conf.BASE_URL:
        logger.error("No link can be mailed: DJANGO_SECURE_AUTH['BASE_URL'] is not set.")
        raise DeliveryUnavailable


def make(
    purpose: str,
    *,
    request: AnyRequest | None,
    email: str,
    lifetime: timedelta,
    user: AbstractBaseUser | None = None,
    payload: dict[str, Any] | None = None,
) -> MailedLink:
    """Write a link that is to be mailed to `email`. `payload` is what its use is to make of it, and holds no secret."""
    scope = scope_of(request) if request is not None else current_scope()
    link = MailedLink(
        purpose=purpose,
        email=email,
        user_id=user.pk if user is not None else None,
        payload=payload or {},
        key_id=current_key().key_id,
        language=translation.get_language() or "",
        expires_at=timezone.now() + lifetime,
        ip_address=scope.ip_address if scope is not None else None,
        device_label=scope.device_label if scope is not None else "",
    )
    link.save(force_insert=True)
    return link


def mail_after_commit(
    link: MailedLink, task: Task[Any, Any], *, or_else: Callable[[], object] = bool, robust: bool = False
) -> None:
    """Hand a link to the worker. When the broker is away it is closed, and `or_else` called.

    The caller is told by DeliveryUnavailable, unless what the mail tells of has happened already (`robust`).
    """

    def send() -> None:
        try:
            deliver(task, str(link.pk), expires=link.expires_at - timezone.now())
        except DeliveryUnavailable:
            or_else()
            MailedLink.objects.filter(pk=link.pk).close("undelivered")
            tell_undelivered(link, reason="broker")
            raise

    transaction.on_commit(send, using=router.db_for_write(MailedLink), robust=robust)


def tell_undelivered(link: MailedLink, *, reason: str) -> None:
    record(events.LINK_UNDELIVERED, user=link.user_id, link_id=str(link.pk), purpose=link.purpose, reason=reason)


def judge(purpose: str, *, uid: str, token: str) -> MailedLink | None:
    """Return the open link of a token, with its active user; None for every other, always alike.

    Whether what it is `bound_to` is as it was is for the caller to say.
    """
    link = _of_uid(uid)
    expected = token_of(link) if link is not None else None
    if link is None or expected is None or not is_equal(expected, token) or link.purpose != purpose:
        return None
    user = link.user
    return link if user is not None and user.is_active else None


def _of_uid(uid: str) -> MailedLink | None:
    try:
        key = UUID(uid)
    except ValueError:
        return None
    return MailedLink.objects.primary().open().select_related("user").filter(pk=key).first()


def use(link: MailedLink) -> bool:
    """Use a link up. Of two at once one is told True."""
    return bool(MailedLink.objects.open().filter(pk=link.pk).update(used_at=timezone.now()))


def close_all(user: AbstractBaseUser, purpose: str, *, since: datetime | None = None) -> None:
    """Close the links of a user that do the same, or those of them that were made later than a moment."""
    links = MailedLink.objects.filter(user=user.pk, purpose=purpose)
    (links if since is None else links.filter(created_at__gt=since)).close("overtaken")


def purge(*, before: datetime) -> int:
    """Delete links whose time was over before a moment. Returns how many."""
    return MailedLink.objects.filter(expires_at__lt=before)._raw_delete(router.db_for_write(MailedLink))
