"""`python -m benchmarks.tools`: microseconds of the tools and of what every request or event pays, in this process."""

from __future__ import annotations

import logging
import timeit
from collections.abc import Callable
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

from django_secure_auth.kit.cache import cached
from django_secure_auth.kit.json_log import JSONFormatter
from django_secure_auth.kit.sanitize import clean_html

COMMENT = '<p>A <b>comment</b> of usual size, with <a href="https://example.com/?a=1&b=2">a link</a>.</p>' * 5


@cached()
def same(value: int) -> int:
    return value


def microseconds(action: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(action, number=number, repeat=5)) / number * 1e6


def an_event() -> Any:
    """A row of the usual size, which needs Django to be set up."""
    settings.configure(
        SECRET_KEY="k3Vw-8pQz!nT5xLdR1sYc7Hm4BgJfU2eXaWtMqZzKvGyPhbEo9CiAuSD6jF0l",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_secure_auth"],
        USE_TZ=True,
    )
    django.setup()
    return apps.get_model("django_secure_auth", "SecurityEvent")(
        event_type="auth_failure",
        event="authn_login_fail",
        severity="MEDIUM",
        message="Sign-in refused",
        user_id="7",
        actor_id="7",
        ip_address="192.0.2.1",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        request_id="0123456789abcdef" * 2,
        details={"reason": "wrong password", "limit": 3},
    )


def headers_middleware() -> Callable[[], object]:
    """A JSON answer through SecurityHeadersMiddleware, less the same answer without it."""
    request, answer = RequestFactory().get("/"), HttpResponse("{}", content_type="application/json")
    middleware = import_string("django_secure_auth.headers.middleware.SecurityHeadersMiddleware")(lambda _: answer)

    def ask() -> object:
        for name in list(answer.headers):
            if name != "Content-Type":
                del answer.headers[name]
        return middleware(request)

    return ask


def a_line(shape: str) -> Callable[[], object]:
    record = logging.LogRecord("security", logging.INFO, "", 0, "Sign-in refused", (), None)
    vars(record).update(
        audit_format=shape, event_type="auth_failure", event="authn_login_fail", severity="MEDIUM", request_id="ab12",
        details={"user_id": "7", "ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0", "reason": "wrong_password"},
    )  # fmt: skip
    formatter = JSONFormatter()
    return lambda: formatter.format(record)


if __name__ == "__main__":
    print(f"clean_html, {len(COMMENT)} characters: {microseconds(lambda: clean_html(COMMENT), 50):.0f} µs")
    print(f"cached, a hit: {microseconds(lambda: same(1), 20_000):.2f} µs")
    print(f"salt, commitment and MAC of one event: {microseconds(an_event().sign, 5000):.0f} µs")
    print(f"headers middleware, one answer: {microseconds(headers_middleware(), 5000):.0f} µs")
    for shape in ("json", "ecs", "ocsf", "cef"):
        print(f"log line of one event, {shape}: {microseconds(a_line(shape), 2000):.0f} µs")
