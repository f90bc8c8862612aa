"""The four cookies of a browser, read and written in one place; or, for apps that asked, tokens in bodies."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from http.cookies import Morsel
from typing import Any

from django.http import HttpResponse
from django.urls import URLResolver, get_resolver, get_script_prefix, get_urlconf, reverse
from django.utils import timezone
from django.utils.translation import get_language

from django_secure_auth.conf import conf
from django_secure_auth.kit.cookies import CookieSpec, check_size, cookie_spec, cookie_values
from django_secure_auth.kit.keys import b64decode
from django_secure_auth.kit.opaque import OpaqueInvalid, parse_refresh_token
from django_secure_auth.request_scope import AnyRequest, plain_request
from django_secure_auth.tokens.authentication import access_cookie
from django_secure_auth.tokens.services import Tokens

_MAX_DUPLICATES = 4


def mount_point() -> str:
    """Return the path under which our URLs are mounted: where the refresh cookie is sent."""
    return _mount_point(get_resolver(get_urlconf()), get_script_prefix(), get_language())


@lru_cache(maxsize=16)
def _mount_point(_resolver: URLResolver, _script_prefix: str, _language: str | None) -> str:
    # Of one resolver (a URLconf as it is loaded), one prefix and one language it is always the same; each cookie asks.
    return reverse("secure_auth:refresh").removesuffix("refresh/")


def _spec(kind: str) -> CookieSpec:
    return cookie_spec(
        conf.COOKIE_PREFIX,
        kind,
        secure=conf.COOKIE_SECURE,
        refresh_path=mount_point(),
        access_samesite=conf.ACCESS_COOKIE_SAMESITE,
    )


def wants_tokens_in_body(request: AnyRequest) -> bool:
    """Tell whether this client takes its tokens in bodies. Then no cookie is read or set, and CSRF has no object:
    the header cannot be sent from another site without a preflight."""
    header = plain_request(request).META.get("HTTP_X_TOKEN_TRANSPORT")
    return header == "body" and conf.ALLOW_TOKEN_IN_BODY


def _all_values(request: AnyRequest, kind: str) -> list[str]:
    return cookie_values(plain_request(request).META.get("HTTP_COOKIE", ""), _spec(kind).name)


def read_cookies(request: AnyRequest, kind: str) -> list[str]:
    """Return the values of one of our cookies, most specific path first; usually one.

    After a changed path or domain a browser sends two of a name, and Django shows the last one only: a refresh
    with the stale one would fail for ever. So the raw header is read.
    """
    if wants_tokens_in_body(request):
        return []
    return _all_values(request, kind)[:_MAX_DUPLICATES]


def read_cookie(request: AnyRequest, kind: str) -> str | None:
    return next(iter(read_cookies(request, kind)), None)


def refresh_tokens(request: AnyRequest) -> list[str]:
    """Return the refresh tokens of the session whose access cookie the browser holds, all where it holds none.

    `__Secure-` allows a Domain: a page of a sibling sub-domain can plant a refresh cookie, a genuine one of its own
    account, on a longer path, and the victim would go on as the attacker. `__Host-` allows none, so the access cookie
    says which session the browser holds (RFC 6265bis §8.6, weak integrity). A refresh cookie alone is judged: it is
    what a thief brings, and the theft has to be noticed.
    """
    if wants_tokens_in_body(request):
        return []
    session_id = _session_id_in(access_cookie(request) or "")
    values = _all_values(request, "refresh")
    held = values if session_id is None else [value for value in values if _session_id_of(value) == session_id]
    return held[:_MAX_DUPLICATES]


def _session_id_in(access: str) -> str | None:
    # Not verified: nobody else could have written this cookie, it may have expired long ago, and its key may have
    # retired. What it picks from is judged afterwards.
    try:
        claims = json.loads(b64decode(access.split(".")[1]))
    except (IndexError, ValueError, RecursionError):
        return None
    session_id = claims.get("sid") if isinstance(claims, dict) else None
    return session_id if isinstance(session_id, str) else None


def _session_id_of(refresh: str) -> str | None:
    try:
        return str(parse_refresh_token(refresh).session_id)
    except OpaqueInvalid:
        return None


def _write(response: HttpResponse, kind: str, value: str, *, expires_at: datetime | None) -> None:
    spec = _spec(kind)
    check_size(spec.name, value)
    response.set_cookie(
        spec.name,
        value,
        max_age=max(0, int((expires_at - timezone.now()).total_seconds())) if expires_at else None,
        path=spec.path,
        secure=spec.secure,
        httponly=spec.httponly,
        samesite=spec.samesite,  # type: ignore[arg-type]  # a str that the kit has checked
    )


def write_tokens(response: HttpResponse, tokens: Tokens, *, keep_until: datetime | None) -> None:
    """Set access and refresh; without `keep_until` they end with the browser."""
    _write(response, "access", tokens.access, expires_at=keep_until)
    _write(response, "refresh", tokens.refresh, expires_at=keep_until)


def write_challenge(response: HttpResponse, secret: str) -> None:
    _write(response, "challenge", secret, expires_at=None)


def write_device(response: HttpResponse, secret: str) -> None:
    _write(response, "device", secret, expires_at=timezone.now() + conf.TRUSTED_DEVICE_TTL)


def clear(response: HttpResponse, *kinds: str) -> None:
    """Delete cookies, with the very attributes that they were set with."""
    for kind in kinds:
        spec = _spec(kind)
        _expire(response, spec.name, spec, spec.path)


def clear_duplicates(response: HttpResponse) -> None:
    """Delete refresh cookies that an earlier mount point left on the paths above ours."""
    spec = _spec("refresh")
    parts = spec.path.strip("/").split("/")
    above = {"/", *("/" + "/".join(parts[:count]) + slash for count in range(1, len(parts)) for slash in ("", "/"))}
    for path in sorted(above - {spec.path}):
        _expire(response, f"{spec.name} {path}", spec, path)


def _expire(response: HttpResponse, slot: str, spec: CookieSpec, path: str) -> None:
    # `response.cookies` holds one cookie a name; a slot of its own lets one name be deleted on several paths.
    morsel: Morsel[Any] = Morsel()
    morsel.set(spec.name, "", '""')
    attributes: dict[str, Any] = {
        "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
        "max-age": "0",
        "path": path,
        "secure": spec.secure,
        "httponly": spec.httponly,
        "samesite": spec.samesite,
    }
    morsel.update(attributes)
    dict.__setitem__(response.cookies, slot, morsel)


def copy_cookies(source: HttpResponse, target: HttpResponse) -> None:
    """Move the cookies of `log_in()` or `log_out()` to an answer of your own."""
    for slot, morsel in source.cookies.items():
        dict.__setitem__(target.cookies, slot, morsel)
    if "Clear-Site-Data" in source.headers:
        target.headers["Clear-Site-Data"] = source.headers["Clear-Site-Data"]
