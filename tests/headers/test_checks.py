"""The checks about other origins and https: each mistake is named, what is right is met with silence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.checks import CheckMessage

from django_secure_auth.headers.checks import find_cors, find_other_sites, find_transport, neighbours_of

HEADERS = "django_secure_auth.headers.middleware.SecurityHeadersMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"


@pytest.fixture(autouse=True)
def good(settings: Any) -> Any:
    settings.DEBUG = False
    settings.MIDDLEWARE = [HEADERS, CORS, COMMON]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://(app|admin)\.example\.com$", re.compile(r"https://a\.test\Z")]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.com"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.DJANGO_SECURE_AUTH = {
        "HTTPS_ONLY": True,
        "SECURITY_TXT": {"contact": "mailto:a@example.com", "expires": datetime.now(UTC) + timedelta(days=99)},
    }
    return settings


def found() -> list[CheckMessage]:
    return [*find_cors(), *find_transport(), *find_other_sites()]


def the_one(check_id: str) -> CheckMessage:
    (message,) = found()
    assert message.id == f"secure_auth.{check_id}"
    assert message.hint
    return message


def test_good_settings_are_met_with_silence(good: Any) -> None:
    assert found() == []
    good.MIDDLEWARE = [HEADERS, CORS]
    good.SECURE_PROXY_SSL_HEADER = None
    assert found() == []


def test_what_cors_settings_say_without_cors_is_nobodys_business(good: Any) -> None:
    good.MIDDLEWARE = [HEADERS]
    good.CORS_ALLOW_ALL_ORIGINS = True
    good.CORS_ALLOWED_ORIGIN_REGEXES = [".*"]
    assert found() == []


def test_e060_every_origin_with_credentials(good: Any) -> None:
    good.CORS_ALLOW_ALL_ORIGINS = True
    assert [message.id for message in found()] == ["secure_auth.E060", "secure_auth.W065"]


@pytest.mark.parametrize("named", [{"CORS_ALLOWED_ORIGINS": ["null"]}, {"CORS_ALLOWED_ORIGIN_REGEXES": [r"\w+"]}])
def test_e061_the_origin_of_every_sandbox(good: Any, named: dict[str, Any]) -> None:
    for name, value in named.items():
        setattr(good, name, value)
    the_one("E061")


@pytest.mark.parametrize(
    ("regex", "let_in"),
    [
        (r"^https://.*example\.com$", "https://evil-example.com"),
        (r"^https://.+example\.com$", "https://evil-example.com"),
        (r"https://example\.com", "https://example.com.evil.example"),
        (r"^https://example\.com", "https://example.com.evil.example"),
        (r"^https://app.example.com$", "https://appxexample.com"),
        (r"^https://(app|admin).example\.com$", "https://adminxexample.com"),
        (r"^https://.*\.example\.com$", None),
        (r"^https?://[^/]+example\.com$", "https://evil-example.com"),
        (r"^https://\w+\.example\.com$", None),
        (r"^https://[a-z0-9-]+\.example\.com$", None),
    ],
)
def test_e062_an_expression_that_lets_strangers_in(good: Any, regex: str, let_in: str | None) -> None:
    good.CORS_ALLOWED_ORIGIN_REGEXES = [regex]
    messages = [message.id for message in found()]
    if let_in is None:
        assert messages == []
    else:
        assert messages == ["secure_auth.E062"]
        assert re.match(regex, let_in)


def test_an_expression_without_a_name_has_no_neighbours() -> None:
    assert list(neighbours_of(re.compile("^https://localhost$"))) == []


@pytest.mark.parametrize("name", ["CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"])
def test_w063_an_origin_without_https(good: Any, name: str) -> None:
    setattr(good, name, ["http://localhost:3000", "http://app.example.com"])
    assert "http://app.example.com" in the_one("W063").msg
    assert "localhost" not in the_one("W063").msg


def test_w064_cors_behind_what_redirects(good: Any) -> None:
    good.MIDDLEWARE = [HEADERS, COMMON, CORS]
    the_one("W064")


def test_w065_every_origin_without_credentials(good: Any) -> None:
    good.CORS_ALLOW_ALL_ORIGINS, good.CORS_ALLOW_CREDENTIALS = True, False
    the_one("W065")


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-Proto", "https"),
        ("HTTP_X-FORWARDED-PROTO", "https"),
        ("http_x_forwarded_proto", "https"),
        ("HTTP_X_FORWARDED_PROTO", ""),
        ("HTTP_X_FORWARDED_PROTO",),
        "HTTP_X_FORWARDED_PROTO",
    ],
)
def test_e066_a_header_that_no_request_has(good: Any, header: Any) -> None:
    good.SECURE_PROXY_SSL_HEADER = header
    the_one("E066")


def test_w067_plain_http_is_not_refused(good: Any) -> None:
    good.DJANGO_SECURE_AUTH = {}
    the_one("W067")


@pytest.mark.parametrize("name", ["SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN"])
def test_w068_a_cookie_of_every_sub_domain(good: Any, name: str) -> None:
    setattr(good, name, ".example.com")
    assert name in the_one("W068").msg


def test_w069_every_sub_domain_is_trusted(good: Any) -> None:
    good.CSRF_TRUSTED_ORIGINS = ["https://*.example.com"]
    the_one("W069")


@pytest.mark.parametrize("days", [-1, 10])
def test_w070_a_security_txt_that_runs_out(good: Any, days: int) -> None:
    fields = {"contact": "mailto:a@example.com", "expires": datetime.now(UTC) + timedelta(days=days)}
    good.DJANGO_SECURE_AUTH = {"HTTPS_ONLY": True, "SECURITY_TXT": fields}
    the_one("W070")


@pytest.mark.parametrize("mode", ["report", "off"])
def test_w071_other_sites_are_let_in(good: Any, mode: str) -> None:
    good.DJANGO_SECURE_AUTH = {"HTTPS_ONLY": True, "CROSS_SITE_CHECK": mode}
    the_one("W071")
