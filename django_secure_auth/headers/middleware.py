"""Security headers on every response, redirects and errors included. Put it first."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import has_vary_header, patch_vary_headers
from django.utils.functional import SimpleLazyObject

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.headers.cross_site import refuse_foreign, tell_caches
from django_secure_auth.headers.policy import NO_CHANGES, Changes, Facts, changes_of, response_headers
from django_secure_auth.headers.transport import redirect_of, refuse_plain_http
from django_secure_auth.problems import plain_problem_response
from django_secure_auth.request_scope import carries_api_key

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_BANNERS = ("Server", "X-Powered-By")


class _Answer:
    """What is known of the answer to a request before there is one."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._nonce: str | None = None
        self.changes: Changes = NO_CHANGES

    def draw_nonce(self) -> str:
        """Drawn at the first use in a template: a page without it gets no policy that promises one.

        One for the response, whether it is asked for here or at Django's own middleware (6.0 and later).
        """
        if self._nonce is None:
            djangos = getattr(self._request, "_csp_nonce", None)
            self._nonce = secrets.token_urlsafe(16) if djangos is None else str(djangos)
        return self._nonce

    @property
    def nonce(self) -> str | None:
        # Django's is true once it has been drawn.
        if self._nonce is None and (self.changes.profile == "page" or getattr(self._request, "_csp_nonce", None)):
            return self.draw_nonce()
        return self._nonce


def _framing(response: HttpResponseBase) -> str | None:
    """What the view says by Django's decorators, `xframe_options_exempt` (None) and `xframe_options_sameorigin`."""
    if getattr(response, "xframe_options_exempt", False):
        return None
    return str(response.headers.get("X-Frame-Options", "DENY")).upper()


def _kind(response: HttpResponseBase) -> str:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    return "html" if media_type in _PAGES else "other"


def _is_admin(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and "admin" in match.app_names


class SecurityHeadersMiddleware:
    """Adds what the view did not set itself; `{{ request.csp_nonce }}` is stable within a request.

    Refuses what pages of other sites send, and plain http where HTTPS_ONLY is on. A refusal of ours that escapes a
    plain Django view, or a commit, becomes its problem document here.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        # Asked before each view runs. Django would send a plain function through a thread on an async server.
        self.process_view = self._before_view_later if self.is_async else self._before_view
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        answer = _Answer(request)
        request._secure_auth_answer = answer  # type: ignore[attr-defined]  # our own mark on Django's request
        request.csp_nonce = SimpleLazyObject(answer.draw_nonce)  # type: ignore[attr-defined]  # for templates
        if self.is_async:
            return self._answer_later(request, answer)
        response = self._redirect(request) or cast(HttpResponseBase, self.get_response(request))
        return self._protect(request, response, answer)

    async def _answer_later(self, request: HttpRequest, answer: _Answer) -> HttpResponseBase:
        response = self._redirect(request) or await cast(Awaitable[HttpResponseBase], self.get_response(request))
        return self._protect(request, response, answer)

    def _redirect(self, request: HttpRequest) -> HttpResponseBase | None:
        return redirect_of(request) if conf.HTTPS_ONLY and not request.is_secure() else None

    def _before_view(
        self, request: HttpRequest, view: Callable[..., object], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        request._secure_auth_answer.changes = changes_of(view)  # type: ignore[attr-defined]  # set above
        if conf.HTTPS_ONLY and not request.is_secure() and (refusal := refuse_plain_http(request)) is not None:
            return refusal
        return refuse_foreign(request, view) if "HTTP_SEC_FETCH_SITE" in request.META else None

    async def _before_view_later(
        self, request: HttpRequest, view: Callable[..., object], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        return self._before_view(request, view, args, kwargs)

    def _protect(self, request: HttpRequest, response: HttpResponseBase, answer: _Answer) -> HttpResponseBase:
        headers = response_headers(
            Facts(
                kind=_kind(response),
                is_secure=request.is_secure(),
                is_admin=_is_admin(request),
                nonce=answer.nonce,
                framing=_framing(response),
                changes=answer.changes,
                permissions=conf.PERMISSIONS_POLICY,
                embedder=conf.CROSS_ORIGIN_EMBEDDER_POLICY,
                report_to=conf.CSP_REPORT_PATH,
            )
        )
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        for name in _BANNERS:
            response.headers.pop(name, None)
        _keep_out_of_caches(request, response)
        if "no-store" not in response.headers.get("Cache-Control", ""):
            tell_caches(request, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        return plain_problem_response(exception, request) if isinstance(exception, SecureAuthError) else None


def _keep_out_of_caches(request: HttpRequest, response: HttpResponseBase) -> None:
    """What depends on who asks is stored nowhere, unless the view says otherwise (ASVS 14.3.2)."""
    if carries_api_key(request):
        # Shared caches keep their hands off answers to `Authorization` (RFC 9111 §3.5); of this one they know nothing.
        patch_vary_headers(response, ("X-API-Key",))
    elif getattr(request, "auth", None) is not None:  # DRF leaves there what its authentication has found
        patch_vary_headers(response, ("Cookie", "Authorization"))
    elif response.cookies:
        patch_vary_headers(response, ("Cookie",))
    elif not has_vary_header(response, "Cookie"):
        return
    response.headers.setdefault("Cache-Control", "no-store")
