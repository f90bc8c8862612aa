"""For the tests of projects that use this package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.test import Client

from django_secure_auth.conf import conf
from django_secure_auth.kit.cookies import cookie_name
from django_secure_auth.routes import open_routes
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import open_session
from django_secure_auth.tokens.services import issue

__all__ = ["assert_no_open_routes", "latest_code", "open_routes", "sign_in"]


def sign_in(
    client: Client, user: AbstractBaseUser, *, amr: Iterable[str] = ("pwd",), remember_me: bool = False
) -> Session:
    """Sign `user` in on a test client, without password and code, and return the session.

    The client then carries the real cookies; pass `secure=True`, or use an `https` base, as a browser would.
    """
    request = HttpRequest()
    request.META.update({"REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "test client"})
    session = open_session(user, request=request, amr=amr, remember_me=remember_me)
    tokens = issue(session)
    for kind, value in (("access", tokens.access), ("refresh", tokens.refresh)):
        client.cookies[cookie_name(conf.COOKIE_PREFIX, kind, secure=conf.COOKIE_SECURE)] = value
    return session


def latest_code(mailbox: Sequence[EmailMessage]) -> str:
    """Return the code of the newest mail in `mailbox` (`django.core.mail.outbox`) that holds one.

    Raises LookupError when there is none.
    """
    digits = rf"([0-9]{{{conf.OTP_LENGTH}}})"
    for message in reversed(mailbox):
        body = str(message.body)
        # Our own template's line first: other words of a mail may hold a number of that length too.
        match = re.search(rf"^Code: {digits}$", body, re.MULTILINE) or re.search(rf"\b{digits}\b", body)
        if match:
            return match.group(1)
    raise LookupError("No mail in this mailbox holds a code.")


def assert_no_open_routes(urlconf: str | None = None) -> None:
    """Assert that every URL is guarded, or declared open by `OPEN_ROUTES` or `secure_auth_open`; names the others.

    For the tests of a project: a view that somebody forgot to guard fails the build on the day it is written.
    """
    found = open_routes(urlconf)
    if found:
        raise AssertionError("Anybody may call:\n" + "\n".join(f"  {route}" for route in found))
