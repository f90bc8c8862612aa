"""Which other origins a project lets in, and how it knows https: the usual mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage
from django.utils import timezone

from django_secure_auth.conf import conf
from django_secure_auth.findings import error, warning
from django_secure_auth.headers.cross_site import CORS_MIDDLEWARE, cors_setting

COMMON = "django.middleware.common.CommonMiddleware"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_LITERAL_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}")
_EVERY_URL = r"^.*$"  # the default of django-cors-headers
_META_NAME = re.compile(r"HTTP_[A-Z0-9_]+")
_SOON, _LONG = timedelta(days=30), timedelta(days=366)
# Names that anybody can have by opening an account.
_ANYBODYS = tuple(
    f"https://evil.{suffix}"
    for suffix in (
        "example", "azurewebsites.net", "cloudfront.net", "firebaseapp.com", "fly.dev", "github.io", "gitlab.io",
        "herokuapp.com", "netlify.app", "ngrok-free.app", "onrender.com", "pages.dev", "s3.amazonaws.com", "vercel.app",
        "web.app", "workers.dev",
    )
)  # fmt: skip


def _pattern(regex: Any) -> re.Pattern[str]:
    return regex if isinstance(regex, re.Pattern) else re.compile(regex)


def _hosts_in(pattern: re.Pattern[str]) -> Iterable[str]:
    """The names that an expression seems to mean."""
    plain = re.sub(r"\\d[+*]?|\[[^\]]*\][+*]?|\(\?:|[()^$]|\.[*+]\??|\\w[+*]?", "", pattern.pattern.lower())
    return dict.fromkeys(_LITERAL_HOST.findall(plain.replace("\\.", ".").replace("\\-", "-")))


def neighbours_of(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield origins that an attacker could have, and that an expression lets in though its writer did not mean them.

    The names that the expression seems to mean are read off it; what is tried are the mistakes of the field: a dot
    that is any character, an end that is open, a beginning that is, and names that anybody can have.
    """
    for host in _hosts_in(pattern):
        label, _, rest = host.rpartition(".")
        # Each dot alone: one that is not escaped is enough. The last one would leave no name that can be had.
        dots = [place for place, character in enumerate(host) if character == "."][:-1]
        tried = (
            f"https://evil-{host}",
            f"https://evil{host}",
            f"https://{host}.evil.example",
            f"https://{host}evil.example",
            *(f"https://{host[:dot]}x{host[dot + 1 :]}" for dot in dots),
            f"https://{label}x{rest}.example",
        )
        yield from (origin for origin in tried if pattern.match(origin))
    yield from (origin for origin in _ANYBODYS if pattern.match(origin))


_YEAR = 31_536_000


def find_hsts() -> Iterable[CheckMessage]:
    """W050, with `--deploy`: a policy of the project's own that is weaker than ours."""
    seconds = settings.SECURE_HSTS_SECONDS
    if seconds and (seconds < _YEAR or not settings.SECURE_HSTS_INCLUDE_SUBDOMAINS):
        yield warning(
            50,
            "SECURE_HSTS_SECONDS is set, and weaker than what we send without it: a year, subdomains included.",
            "Leave it unset, or set a year and SECURE_HSTS_INCLUDE_SUBDOMAINS (ASVS 3.4.1).",
        )


def find_cors() -> Iterable[CheckMessage]:
    """E060 to E062, W064, W073: other origins that may read answers."""
    if CORS_MIDDLEWARE not in settings.MIDDLEWARE:
        return
    is_open = bool(cors_setting("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL", False))
    if is_open and getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        yield error(
            60,
            "CORS_ALLOW_ALL_ORIGINS and CORS_ALLOW_CREDENTIALS are on: every page on the web reads what its visitors "
            "may read here.",
            "Name the origins in CORS_ALLOWED_ORIGINS.",
        )
    patterns = [_pattern(one) for one in cors_setting("CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST", ())]
    named = [str(one) for one in cors_setting("CORS_ALLOWED_ORIGINS", "CORS_ORIGIN_WHITELIST", ())]
    if "null" in named or any(pattern.match("null") for pattern in patterns):
        yield error(
            61,
            "CORS lets the origin 'null' in: every page has it that puts itself into a sandboxed frame.",
            "Take 'null' out, and let expressions begin with 'https://'.",
        )
    for pattern in patterns:
        strange = next(neighbours_of(pattern), None)
        if strange is not None:
            yield error(
                62,
                f"CORS_ALLOWED_ORIGIN_REGEXES: {pattern.pattern!r} lets {strange!r} in.",
                r"Write it whole, with escaped dots: r'^https://(app|admin)\.example\.com$'.",
            )
    if COMMON in settings.MIDDLEWARE and settings.MIDDLEWARE.index(CORS_MIDDLEWARE) > settings.MIDDLEWARE.index(COMMON):
        yield warning(
            64,
            "CorsMiddleware stands behind CommonMiddleware: redirects of that go without CORS headers.",
            "Put it right behind SecurityHeadersMiddleware.",
        )
    if (is_open or named or patterns) and getattr(settings, "CORS_URLS_REGEX", _EVERY_URL) == _EVERY_URL:
        yield warning(
            73,
            "CORS_URLS_REGEX is not set: pages of the origins that CORS lets in read every URL, the admin's too.",
            r"Name what they need: CORS_URLS_REGEX = r'^/api/'.",
        )


def find_transport() -> Iterable[CheckMessage]:
    """E066, W072: how Django is told that a request came by https."""
    header: Any = settings.SECURE_PROXY_SSL_HEADER
    if header is not None and not (
        isinstance(header, list | tuple) and len(header) == 2 and _META_NAME.fullmatch(str(header[0])) and header[1]
    ):
        yield error(
            66,
            f"SECURE_PROXY_SSL_HEADER is {header!r}: no request ever has a header of that name.",
            "Write the name as WSGI does: ('HTTP_X_FORWARDED_PROTO', 'https').",
        )
    if conf.HTTPS_ONLY and settings.SECURE_SSL_REDIRECT:
        yield warning(
            72,
            "SECURE_SSL_REDIRECT is on beside HTTPS_ONLY: Django redirects the API before it can refuse.",
            "Remove SECURE_SSL_REDIRECT: HTTPS_ONLY redirects pages by itself.",
        )


def _plain_origins() -> Iterator[str]:
    for name, origins in (
        ("CORS_ALLOWED_ORIGINS", cors_setting("CORS_ALLOWED_ORIGINS", "CORS_ORIGIN_WHITELIST", ())),
        ("CSRF_TRUSTED_ORIGINS", settings.CSRF_TRUSTED_ORIGINS),
    ):
        for origin in map(str, origins):
            if origin.startswith("http://") and urlsplit(origin).hostname not in _LOCAL:
                yield f"{name}: {origin}"
    for regex in cors_setting("CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST", ()):
        pattern = _pattern(regex)
        for host in _hosts_in(pattern):
            if pattern.match(f"http://{host}") or pattern.match(f"http://www.{host}"):
                yield f"CORS_ALLOWED_ORIGIN_REGEXES: http://{host}"


def find_other_sites() -> Iterable[CheckMessage]:
    """W063, W065, W067 to W071, W074, with `--deploy`: safe to try, not yet to serve."""
    plain = list(_plain_origins())
    if plain:
        yield warning(
            63,
            f"An origin without https may send requests: {', '.join(plain)}. Whoever is on the line writes its pages.",
            "Name it with https://.",
        )
    if CORS_MIDDLEWARE in settings.MIDDLEWARE and cors_setting(
        "CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL", False
    ):
        yield warning(
            65,
            "CORS_ALLOW_ALL_ORIGINS is on: every page reads what needs no sign-in, through its visitors' networks.",
            "Name the origins in CORS_ALLOWED_ORIGINS, or silence this check where everything is public.",
        )
    if not conf.HTTPS_ONLY:
        yield warning(
            67,
            "HTTPS_ONLY is off: an API that redirects plain http hides that a credential has travelled in clear.",
            "Set HTTPS_ONLY to True, in the place of SECURE_SSL_REDIRECT.",
        )
    for name in ("SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN"):
        if getattr(settings, name):
            yield warning(
                68,
                f"{name} is set: the cookie goes to every sub-domain, and each of them can write it.",
                f"Leave {name} unset; cookies then belong to one host.",
            )
    wild = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" in origin]
    if wild:
        yield warning(
            69,
            f"CSRF_TRUSTED_ORIGINS trusts every sub-domain: {', '.join(wild)}. One that is taken over is enough.",
            "Name the origins.",
        )
    if conf.SECURITY_TXT is not None and conf.SECURITY_TXT["expires"] < timezone.now() + _SOON:
        yield warning(
            70,
            "SECURITY_TXT has expired or does so within 30 days: finders must not rely on it any more.",
            "Look whether its contact is still right, and set 'expires' to within a year (RFC 9116 §2.5.5).",
        )
    if conf.SECURITY_TXT is not None and conf.SECURITY_TXT["expires"] > timezone.now() + _LONG:
        yield warning(
            74,
            "SECURITY_TXT expires in more than a year: nobody will have looked at its contact for so long.",
            "Set 'expires' to within a year (RFC 9116 §2.5.5).",
        )
    if conf.CROSS_SITE_CHECK != "enforce":
        yield warning(
            71,
            f"CROSS_SITE_CHECK is {conf.CROSS_SITE_CHECK!r}: pages of other sites may send requests.",
            "Set it to 'enforce', and put allow_cross_site before the views that need it.",
        )
