"""Whom to tell of a hole, where a password is changed, and what a browser tells of what it has blocked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import MalformedRequest, RateLimited, TooLarge, UnsupportedMediaType
from django_secure_auth.headers.cross_site import allow_cross_site
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.window import Window
from django_secure_auth.request_scope import Refusal, scope_of


@allow_cross_site(reason="Whoever looks for a contact may come from anywhere.")
@require_safe
@cache_control(max_age=86400, public=True)
def security_txt(request: HttpRequest) -> HttpResponse:
    """`SECURITY_TXT` as RFC 9116 writes it; 404 while it is not set."""
    if conf.SECURITY_TXT is None:
        raise Http404
    text = "".join(f"{line}\n" for line in _lines(conf.SECURITY_TXT))
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        title = "-".join(word.capitalize() for word in name.split("_"))
        if name == "expires":
            yield f"{title}: {value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        else:
            yield from (f"{title}: {line}" for line in ([value] if isinstance(value, str) else value))


@allow_cross_site(reason="A password manager follows a link of its own.")
@require_safe
def change_password(request: HttpRequest) -> HttpResponse:
    """302 to `CHANGE_PASSWORD_URL` (W3C, A Well-Known URL for Changing Passwords); 404 while it is not set."""
    if conf.CHANGE_PASSWORD_URL is None:
        raise Http404
    return HttpResponseRedirect(resolve_url(conf.CHANGE_PASSWORD_URL))


# --- what browsers report ----------------------------------------------------------------------------

_MOST_BYTES = 16_384
_MOST_REPORTS = 10
_MOST_TEXT = 200
_A_MINUTE, _WINDOW = 60, 60
_told: Window[tuple[str, ...]] = Window(3600)
_counted: Window[str] = Window(_WINDOW)


@csrf_exempt
@require_POST
def csp_report(request: HttpRequest) -> HttpResponse:
    """Take a report of a browser (CSP 3 §5.3, Reporting API) and write the event `csp_violation`; 204.

    Put it at `CSP_REPORT_PATH`. Anybody can send one: at most 60 a minute from an address (an IPv6 /64 is one), the
    same violation once an hour, both in each process, and no query of an address, since that may hold a token.

    Raises UnsupportedMediaType, TooLarge, MalformedRequest or RateLimited.
    """
    if request.content_type not in {"application/csp-report", "application/reports+json"}:
        raise UnsupportedMediaType("Send application/csp-report or application/reports+json.")
    if _counted.count(address_prefix(scope_of(request).ip_address)) > _A_MINUTE:
        raise RateLimited(headers={"Retry-After": str(_WINDOW)})
    for violation in _violations(_body_of(request)):
        if _told.count(tuple(violation.values())) == 1:
            scope_of(request).suspicions.append(Refusal("csp_violation", dict(violation)))
    return HttpResponse(status=204)


def _body_of(request: HttpRequest) -> Any:
    raw = request.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise TooLarge
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is no report.") from None


def _violations(body: Any) -> Iterator[dict[str, str]]:
    """Yield the few members that say what happened, of both forms."""
    reports = body if isinstance(body, list) else [body]
    for report in reports[:_MOST_REPORTS]:
        inner = report.get("csp-report", report.get("body")) if isinstance(report, dict) else None
        if not isinstance(inner, dict):
            raise MalformedRequest("The body is no report.")
        if report.get("type", "csp-violation") != "csp-violation":
            continue  # a deprecation, an intervention: of no concern here
        yield {
            "page": _place(inner.get("document-uri", inner.get("documentURL"))),
            "directive": _text(inner.get("effective-directive", inner.get("effectiveDirective"))),
            "blocked": _place(inner.get("blocked-uri", inner.get("blockedURL"))),
            "script": _place(inner.get("source-file", inner.get("sourceFile"))),
            "line": _text(inner.get("line-number", inner.get("lineNumber"))),
        }


def _text(value: Any) -> str:
    return str(value)[:_MOST_TEXT] if isinstance(value, str | int) else ""


def _place(value: Any) -> str:
    """Return an address without its query, fragment and password; a word such as `inline` as it is."""
    try:
        parts = urlsplit(_text(value))
    except ValueError:
        return ""
    if not parts.netloc:
        return parts.path or parts.scheme
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
