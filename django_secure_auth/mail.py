"""Mail that leaves through Celery when the project has a broker, else in process, after commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from celery import Task, current_app
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import DeliveryUnavailable
from django_secure_auth.kit import places

logger = logging.getLogger("django_secure_auth")

# One quick second try, then the caller is told: somebody waits for the answer. `timeout` is for a RabbitMQ that
# accepts connections and answers nothing; Redis has the transport option `socket_timeout` for it.
_PUBLISH: dict[str, Any] = {
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1, "interval_max": 0.2},
    "timeout": 3,
    "ignore_result": True,
}


def uses_celery() -> bool:
    """Tell whether tasks go to a broker: `MAIL_DELIVERY`, and with "auto" whether Celery has one."""
    if conf.MAIL_DELIVERY != "auto":
        return conf.MAIL_DELIVERY == "celery"
    settings = current_app.conf
    return bool(settings.broker_url or settings.broker_write_url or settings.task_always_eager)


def deliver(task: Task[Any, Any], *ids: str, expires: timedelta) -> None:
    """Hand a mail task to its worker, or run it here. Arguments are ids, never a secret.

    Raises DeliveryUnavailable when the broker, or in process the mail server, is away.
    """
    try:
        if uses_celery():
            result = task.apply_async(args=ids, expires=expires.total_seconds(), **_PUBLISH)
            failed = bool(current_app.conf.task_always_eager) and result.failed()
        else:
            failed = task.apply(args=ids).failed()
    except Exception as error:  # whatever the broker's client raises: it is away
        logger.warning("The mail task %s could not be handed over: %s", task.name, type(error).__name__)
        raise DeliveryUnavailable from error
    if failed:
        raise DeliveryUnavailable


def address_of(user: AbstractBaseUser) -> str:
    """Return where a user's mail goes; "" for one who has no address."""
    return str(getattr(user, user.get_email_field_name(), "") or "")


def site_name() -> str:
    """Return the name under which mails speak: from `BASE_URL`, never from a request's Host header."""
    host = urlsplit(conf.BASE_URL).hostname if conf.BASE_URL else None
    return host or conf.ISSUER


def send_templated(template: str, *, to: str, context: Mapping[str, Any], language: str | None = None) -> None:
    """Send `django_secure_auth/mail/<template>.{subject.txt,txt,html}` to one address.

    User text enters as context only, never as template source, and the subject is one line (ASVS 1.3.7,
    1.3.11). Raises what the mail backend raises; the task retries.
    """
    with translation.override(language) if language else translation.override(translation.get_language()):
        full = {"site_name": site_name(), "base_url": conf.BASE_URL, **context}
        subject = " ".join(render_to_string(f"django_secure_auth/mail/{template}.subject.txt", full).split())
        message = EmailMultiAlternatives(
            subject, render_to_string(f"django_secure_auth/mail/{template}.txt", full), conf.MAIL_FROM, [to]
        )
        message.attach_alternative(render_to_string(f"django_secure_auth/mail/{template}.html", full), "text/html")
        message.send()


# --- places ------------------------------------------------------------------------------------------


def place_of(address: str | None, *, language: str = "") -> str:
    """Return such as "Lyon, France" out of `GEOIP_FILE`, in a language or the active one; "" for what is not known."""
    file = conf.GEOIP_FILE
    if file is None:
        return ""
    return places.place_of(address, file=file, language=language or translation.get_language() or "en")


def where(address: str | None, *, language: str = "") -> str:
    """Return what a mail says of an address: it, and its place if that is known; "-" for none."""
    place = place_of(address, language=language)
    return f"{place} ({address})" if place else address or "-"
