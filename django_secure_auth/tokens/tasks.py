"""Mail about tokens, written by the worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import Task, shared_task

from django_secure_auth.mail import address_of, send_templated
from django_secure_auth.sessions.models import Session

NOTICE_EXPIRES = timedelta(days=1)
_LONGEST_WAIT = 40
"""Seconds: below the visibility timeout of a Redis broker, which would hand the waiting task to a second worker."""


@shared_task(
    bind=True,
    name="django_secure_auth.tokens.tasks.tell_of_reuse",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=8,
)
def tell_of_reuse(self: Task[Any, Any], session_id: str) -> None:
    """Tell the user that a session was ended because its refresh token was used twice."""
    session = Session.objects.primary().select_related("user").filter(pk=session_id).first()
    if session is None or not address_of(session.user):
        return
    try:
        send_templated("session_ended_for_reuse", to=address_of(session.user), context={"session": session})
    except Exception as error:
        if self.request.is_eager:
            raise
        raise self.retry(exc=error, countdown=min(2**self.request.retries * 5, _LONGEST_WAIT)) from error
