"""What all tasks that mail a link have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import Task
from django.utils import timezone

from django_secure_auth.conf import conf
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.policy import token_of, url_of
from django_secure_auth.links.services import tell_undelivered
from django_secure_auth.mail import send_templated, where

logger = logging.getLogger("django_secure_auth")
MAX_RETRIES = 6


def mail_link(
    task: Task[Any, Any], link: MailedLink, template: str, *, to: str, path: str, context: Mapping[str, Any]
) -> None:
    """Mail a link, with retries. Sent twice it is the same link, which works once."""
    token = token_of(link)
    if token is None:  # its key was retired in between
        return
    try:
        send_templated(
            template,
            to=to,
            context={
                "link": url_of(link, path, token=token) if conf.BASE_URL else "",
                "asked": link,
                "place": where(link.ip_address, language=link.language),
                **context,
            },
            language=link.language or None,
        )
    except Exception as error:
        # In process somebody waits: an error would be the answer of known addresses only.
        if task.request.is_eager or task.request.retries >= MAX_RETRIES:
            tell_undelivered(link, reason="mail")
            logger.exception("The link %s could not be mailed.", link.pk)
            return
        raise task.retry(exc=error, countdown=2**task.request.retries) from error
    MailedLink.objects.filter(pk=link.pk).update(mailed_at=timezone.now())
