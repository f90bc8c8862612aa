"""The worker's door: the old address of an account is told, and how to undo the change."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from django_secure_auth.conf import conf
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.tasks import MAX_RETRIES, mail_link

UNDO = "email_undo"


@shared_task(
    bind=True,
    name="django_secure_auth.addresses.tasks.send_undo",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=MAX_RETRIES,
)
def send_undo(self: Task[Any, Any], link_id: str) -> None:
    """Tell the address that an account had before, with the link that gives it back."""
    link = MailedLink.objects.primary().open().filter(pk=link_id, mailed_at=None).first()
    if link is not None:
        hours = round(conf.EMAIL_UNDO_TTL.total_seconds() / 3600)
        mail_link(self, link, "email_changed", to=link.email, path=conf.EMAIL_UNDO_PATH, context={"hours": hours})
