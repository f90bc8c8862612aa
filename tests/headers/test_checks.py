"""The checks about other origins and https: each mistake is named, what is right is met with silence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.checks import CheckMessage

from django_secure_auth.checks import check_loosened
from django_secure_auth.headers.checks import find_cors, find_hsts, find_other_sites, find_transport, neighbours_of

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
    settings.CORS_URLS_REGEX = r"^/api/"
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.com"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.DJANGO_SECURE_AUTH = {
        "HTTPS_ONLY": True,
        "SECURITY_TXT": {"contact": "mailto:a@example.com", "expires": datetime.now(UTC) + timedelta(days=99)},
    }
    return settings


def found() -> list[CheckMessage]:
    return [*find_cors(), *find_transport(), *find_other_sites(), *find_hsts()]


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


@pytest.mark.control("ASVS-3.4.2")
def test_e060_every_origin_with_credentials(good: Any) -> None:
    good.CORS_ALLOW_ALL_ORIGINS = True
    assert [message.id for message in found()] == ["secure_auth.E060", "secure_auth.W065"]


@pytest.mark.parametrize("named", [{"CORS_ALLOWED_ORIGINS": ["null"]}, {"CORS_ALLOWED_ORIGIN_REGEXES": ["^null$"]}])
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
        (r"^https://[^/]+example\.com$", "https://evil-example.com"),
        (r"^https://.{1,9}example\.com$", "https://evil-example.com"),
        (r"^https://(?P<name>\w+)example\.com$", "https://evilexample.com"),
        (r"^https://app.example\.co\.uk$", "https://appxexample.co.uk"),
        (r"^https://app\.example.co\.uk$", "https://app.examplexco.uk"),
        (r"https://a\.example\.com|https://b\.example\.com$", "https://a.example.com.evil.example"),
        (r"^https://app\.example\.com(:\d+)?", "https://app.example.com.evil.example"),
        (r"^https://.*$", "https://evil.example"),
        (r"https://", "https://evil.example"),
        (r"^https://shop-.*\.vercel\.app$", None),
        (r"^https://[a-z0-9-]+\.vercel\.app$", "https://evil.vercel.app"),
        (r"^https://(www\.)?example\.com(:\d+)?$", None),
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


@pytest.mark.parametrize("regex", [r"^https?://app\.example\.com$", r"^https?://[a-z]+\.example\.com$"])
def test_w063_an_expression_for_origins_without_https(good: Any, regex: str) -> None:
    good.CORS_ALLOWED_ORIGIN_REGEXES = [regex]
    assert "http://" in the_one("W063").msg


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


def test_w072_two_redirects(good: Any) -> None:
    good.SECURE_SSL_REDIRECT = True
    the_one("W072")


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"CORS_ALLOWED_ORIGINS": []},
        {"CORS_ALLOWED_ORIGINS": [], "CORS_ALLOWED_ORIGIN_REGEXES": [], "CORS_ALLOW_ALL_ORIGINS": True},
    ],
)
def test_w073_every_url_is_shared(good: Any, named: dict[str, Any]) -> None:
    for name, value in {**named, "CORS_URLS_REGEX": r"^.*$", "CORS_ALLOW_CREDENTIALS": False}.items():
        setattr(good, name, value)
    assert "secure_auth.W073" in {message.id for message in found()}
    good.CORS_ALLOWED_ORIGINS, good.CORS_ALLOWED_ORIGIN_REGEXES, good.CORS_ALLOW_ALL_ORIGINS = [], [], False
    assert found() == []


def test_w074_a_security_txt_that_nobody_looks_at(good: Any) -> None:
    fields = {"contact": "mailto:a@example.com", "expires": datetime.now(UTC) + timedelta(days=400)}
    good.DJANGO_SECURE_AUTH = {"HTTPS_ONLY": True, "SECURITY_TXT": fields}
    the_one("W074")


@pytest.mark.parametrize("days", [-1, 10])
def test_w070_a_security_txt_that_runs_out(good: Any, days: int) -> None:
    fields = {"contact": "mailto:a@example.com", "expires": datetime.now(UTC) + timedelta(days=days)}
    good.DJANGO_SECURE_AUTH = {"HTTPS_ONLY": True, "SECURITY_TXT": fields}
    the_one("W070")


@pytest.mark.parametrize("mode", ["report", "off"])
def test_w071_other_sites_are_let_in(good: Any, mode: str) -> None:
    good.DJANGO_SECURE_AUTH = {"HTTPS_ONLY": True, "CROSS_SITE_CHECK": mode}
    the_one("W071")


@pytest.mark.parametrize(("seconds", "with_subdomains"), [(3600, True), (31_536_000, False)])
def test_w050_a_weaker_hsts_of_the_projects_own(good: Any, seconds: int, with_subdomains: bool) -> None:
    good.SECURE_HSTS_SECONDS, good.SECURE_HSTS_INCLUDE_SUBDOMAINS = 63_072_000, True
    assert found() == []
    good.SECURE_HSTS_SECONDS, good.SECURE_HSTS_INCLUDE_SUBDOMAINS = seconds, with_subdomains
    the_one("W050")


def test_i051_a_view_that_loosens_is_shown_with_its_reason(good: Any) -> None:
    good.ROOT_URLCONF = "tests.headers.test_middleware"
    message = next(one for one in check_loosened(app_configs=None) if one.id == "secure_auth.I051")
    assert message.msg == "/picture/ loosens img-src: Pictures lie elsewhere."


def test_i052_a_view_that_every_page_may_call_is_shown_with_its_reason(good: Any) -> None:
    good.ROOT_URLCONF = "tests.headers.test_cross_site"
    messages = [one.msg for one in check_loosened(app_configs=None)]
    assert len(messages) == 3
    assert messages[0] == "/opened/ may be called by pages of every site: The bank posts its answer here."
