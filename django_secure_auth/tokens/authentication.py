"""Who is asking: a bearer token, or the access cookie with its CSRF proof."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import CSRFFailed, TokenInvalid
from django_secure_auth.kit.cookies import cookie_name, cookie_values
from django_secure_auth.request_scope import Credentials, carries_api_key, plain_request, scope_of
from django_secure_auth.sessions.services import acknowledge, alive, touch
from django_secure_auth.tokens.services import read_access_token

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def enforce_csrf(request: Request | HttpRequest) -> None:
    """Run Django's own CSRF check (token cookie and header, Origin, Referer), also for anonymous callers.

    DRF exempts its views and asks only where its own session authentication signed somebody in; sign-in,
    refresh and sign-out need it as much (login CSRF). Raises CSRFFailed.
    """
    bare = plain_request(request)
    check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]  # never called: only the check is used
    check.process_request(bare)
    reason = check.process_view(bare, lambda _: None, (), {})  # type: ignore[arg-type,return-value]  # as above
    if reason:
        record(events.CSRF_FAIL, request=request, reason=str(reason)[:200], path=bare.path[:200])
        raise CSRFFailed


def bearer_token(request: Request | HttpRequest) -> str | None:
    """Return the token of `Authorization: Bearer …`, or None for another scheme. Raises TokenInvalid when garbled."""
    header = plain_request(request).META.get("HTTP_AUTHORIZATION", "")
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not rest or " " in rest:
        raise TokenInvalid
    return str(rest)


def has_explicit_credential(request: Request | HttpRequest) -> bool:
    """Tell whether the request carries a credential header. Then no cookie counts, whatever the header holds."""
    return "HTTP_AUTHORIZATION" in plain_request(request).META or carries_api_key(request)


def access_cookie(request: Request | HttpRequest) -> str | None:
    """Return the access cookie, read from the raw header.

    Django's reader trims names: a neighbour on a sub-domain could set `"\u2000__Host-…"`, which no browser takes for
    a prefixed name, and it would win here.
    """
    name = cookie_name(conf.COOKIE_PREFIX, "access", secure=conf.COOKIE_SECURE)
    return next(iter(cookie_values(plain_request(request).META.get("HTTP_COOKIE", ""), name)), None)


class JWTCookieAuthentication(BaseAuthentication):
    """Access token from the cookie (writes need CSRF) or from `Authorization: Bearer` (they do not).

    An explicit credential alone decides: a cookie that came along is neither a fallback nor a danger, and a bearer
    token beside an API key is refused, since whoever reads the one and whoever reads the other would disagree. The
    session is asked with every request, so that sign-out, a password change, deactivation and deletion hold at the
    next one.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, Credentials] | None:
        token = bearer_token(request)
        if token is not None:
            if carries_api_key(request):
                raise TokenInvalid
            return self._accept(request, token, kind="bearer")
        if has_explicit_credential(request):
            return None
        token = access_cookie(request)
        if token is None:
            return None
        return self._accept(request, token, kind="cookie")

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    def _accept(self, request: Request, token: str, *, kind: str) -> tuple[AbstractBaseUser, Credentials]:
        claims = read_access_token(token)
        state = alive(claims.session_id, claims.user_id)
        user = state.user()
        if str(user.pk) != claims.user_id:
            raise TokenInvalid
        if kind == "cookie" and request.method not in _SAFE_METHODS:
            enforce_csrf(request)  # before the touch: a forged write keeps no session alive
        is_background = getattr(_view_of(request), "secure_auth_background", False)
        note = acknowledge if is_background else touch
        note(claims.session_id, state, generation=claims.generation)
        scope_of(request).impersonator = state.impersonator
        proven_at = datetime.fromtimestamp(state.auth_time, UTC)
        credentials = Credentials(claims.session_id, state.amr, proven_at, kind, impersonator=state.impersonator)
        return user, credentials


def _view_of(request: Request) -> Any:
    context = getattr(request, "parser_context", None) or {}
    return context.get("view")
