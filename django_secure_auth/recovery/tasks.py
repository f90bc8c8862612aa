"""The worker's door: the id of a request comes in; a mail goes out if the address is an account's."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task, shared_task
from django.utils import timezone

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.mail import address_of, send_templated
from django_secure_auth.passwords.services import find_account
from django_secure_auth.recovery.models import PasswordReset
from django_secure_auth.recovery.policy import link_of, token_of
from django_secure_auth.sessions.state import account_fingerprint

logger = logging.getLogger("django_secure_auth")
_MAX_RETRIES = 6


@shared_task(
    bind=True,
    name="django_secure_auth.recovery.tasks.send_reset",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=_MAX_RETRIES,
)
def send_reset(self: Task[Any, Any], reset_id: str) -> None:
    """Mail the link of a request. Sent twice it is the same link, which works once.

    To the address that the account has in the table, never to the one that was typed: two that look alike may be two
    mailboxes. Nobody is told that an address has no account: whoever asked may not be its owner.
    """
    reset = PasswordReset.objects.primary().open().filter(pk=reset_id, mailed_at=None).first()
    if reset is None:
        return
    user = find_account(reset.email)
    if user is None or not user.is_active or not user.has_usable_password():
        PasswordReset.objects.filter(pk=reset.pk).close("no_account")
        return
    reset.user, reset.bound_to = user, account_fingerprint(user)
    # Whoever comes second must not bind it anew: a mail that is out holds the token of this binding.
    unbound = PasswordReset.objects.open().filter(pk=reset.pk, bound_to__in=("", reset.bound_to))
    token = token_of(reset)
    if token is None or not unbound.update(user=user.pk, bound_to=reset.bound_to):
        return
    try:
        send_templated(
            "password_reset",
            to=address_of(user),
            context={
                "link": link_of(reset, token),
                "reset": reset,
                "minutes": round(conf.PASSWORD_RESET_TTL.total_seconds() / 60),
            },
            language=reset.language or None,
        )
    except Exception as error:
        # In process the asker waits: an error would be the answer of known addresses only.
        if self.request.is_eager or self.request.retries >= _MAX_RETRIES:
            record(events.RESET_UNDELIVERED, user=user, reset_id=str(reset.pk), reason="mail")
            logger.exception("The link of the password reset %s could not be mailed.", reset.pk)
            return
        raise self.retry(exc=error, countdown=2**self.request.retries) from error
    PasswordReset.objects.filter(pk=reset.pk).update(mailed_at=timezone.now())
