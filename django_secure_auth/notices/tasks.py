"""The worker's door: the id of a link comes in, one notice goes out. To add a kind, add a line to `KINDS`."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from django_secure_auth.conf import conf
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.tasks import MAX_RETRIES, mail_link

PURPOSE = "not_me"

KINDS: dict[str, Any] = {
    "new_device": _("Somebody has signed in to your account on a device that was not known before."),
    "password_changed": _("The password of your account was changed."),
    "reset_used": _("The password of your account was reset by a link in a mail. Everybody was signed out."),
    "api_key_created": _("The API key “{name}” was made for your account. Programs that hold it act in your name."),
    "wrong_codes": _("Somebody knows your password, and has tried codes until none was left. Choose another password."),
    "role_granted": _("You were given the role “{role}”."),
    "refresh_reused": _(
        "A refresh token of yours was used twice, as after a theft. The session was ended: “{device}”."
    ),
    "account_closing": _("Your account is going to be closed on {day}. To keep it, sign in before that day."),
    "email_changed": _("The address of your account was changed to this one."),
    "email_replaced": _("The address of your account was changed: this one is no longer it."),
}
"""What is told, in the words of its mail; the names in braces are the details."""


@shared_task(
    bind=True,
    name="django_secure_auth.notices.tasks.send_notice",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=MAX_RETRIES,
)
def send_notice(self: Task[Any, Any], link_id: str) -> None:
    """Mail a notice, to the address that the account had when it happened."""
    link = MailedLink.objects.primary().open().filter(pk=link_id, mailed_at=None).first()
    if link is None:
        return
    details = {name: value for name, value in link.payload.items() if name != "kind"}
    with translation.override(link.language or translation.get_language()):
        what = str(KINDS[link.payload["kind"]]).format(**details)
    context = {
        "what": what,
        "hours": round(conf.NOT_ME_TTL.total_seconds() / 3600),
        "at": timezone.localtime(link.created_at),
    }
    mail_link(self, link, "notice", to=link.email, path=conf.NOT_ME_PATH, context=context)
