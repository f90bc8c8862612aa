"""The worker's door: the id of a link comes in; a mail goes out if the address is an account's."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from django_secure_auth.conf import conf
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.tasks import MAX_RETRIES, mail_link
from django_secure_auth.mail import address_of
from django_secure_auth.passwords.services import find_account
from django_secure_auth.sessions.state import account_fingerprint

PURPOSE = "password_reset"


@shared_task(
    bind=True,
    name="django_secure_auth.recovery.tasks.send_reset",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=MAX_RETRIES,
)
def send_reset(self: Task[Any, Any], link_id: str) -> None:
    """Mail the link that resets a password, if the address has an account.

    To the address that the account has in the table, never to the one that was typed: two that look alike may be two
    mailboxes. Nobody is told that an address has no account: whoever asked may not be its owner.
    """
    link = MailedLink.objects.primary().open().filter(pk=link_id, mailed_at=None).first()
    if link is None:
        return
    user = find_account(link.email)
    if user is None or not user.is_active or not user.has_usable_password():
        MailedLink.objects.filter(pk=link.pk).close("no_account")
        return
    link.user, link.bound_to = user, account_fingerprint(user)
    # Whoever comes second must not bind it anew: a mail that is out holds the token of this binding.
    unbound = MailedLink.objects.open().filter(pk=link.pk, bound_to__in=("", link.bound_to))
    if unbound.update(user=user.pk, bound_to=link.bound_to):
        minutes = round(conf.PASSWORD_RESET_TTL.total_seconds() / 60)
        path = conf.PASSWORD_RESET_PATH
        mail_link(
            self, link, "password_reset", to=address_of(user), path=path, context={"minutes": minutes, **link.payload}
        )
