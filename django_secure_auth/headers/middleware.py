"""Security headers on every response, redirects and errors included. Put it first."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.headers.cross_site import refuse_foreign
from django_secure_auth.headers.policy import response_headers
from django_secure_auth.headers.transport import redirect_of, refuse_plain_http
from django_secure_auth.problems import plain_problem_response
from django_secure_auth.request_scope import carries_api_key

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class _Nonce:
    """Drawn at the first use in a template: a page without it gets no policy that promises one."""

    value: str | None = None

    def draw(self) -> str:
        if self.value is None:
            self.value = secrets.token_urlsafe(16)
        return self.value


def _framing(response: HttpResponseBase) -> str | None:
    """What the view says by Django's decorators, `xframe_options_exempt` (None) and `xframe_options_sameorigin`."""
    if getattr(response, "xframe_options_exempt", False):
        return None
    return str(response.headers.get("X-Frame-Options", "DENY")).upper()


class SecurityHeadersMiddleware:
    """Adds what the view did not set itself; `{{ request.csp_nonce }}` is stable within a request.

    A refusal of ours that escapes a plain Django view, or a commit, becomes its problem document here.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        # Asked before each view runs. Django would send a plain function through a thread on an async server.
        self.process_view = self._judge_sender_later if self.is_async else self._judge_sender
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        nonce = _Nonce()
        request.csp_nonce = SimpleLazyObject(nonce.draw)  # type: ignore[attr-defined]  # for templates
        if self.is_async:
            return self._answer_later(request, nonce)
        response = redirect_of(request) or cast(HttpResponseBase, self.get_response(request))
        return self._protect(request, response, nonce)

    async def _answer_later(self, request: HttpRequest, nonce: _Nonce) -> HttpResponseBase:
        response = redirect_of(request) or await cast(Awaitable[HttpResponseBase], self.get_response(request))
        return self._protect(request, response, nonce)

    def _judge_sender(
        self, request: HttpRequest, view: Callable[..., object], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        return refuse_plain_http(request) or refuse_foreign(request, view)

    async def _judge_sender_later(
        self, request: HttpRequest, view: Callable[..., object], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        return refuse_plain_http(request) or refuse_foreign(request, view)

    def _protect(self, request: HttpRequest, response: HttpResponseBase, nonce: _Nonce) -> HttpResponseBase:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        headers = response_headers(
            is_json=is_json, is_secure=request.is_secure(), nonce=nonce.value, framing=_framing(response)
        )
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if carries_api_key(request):
            # Shared caches keep their hands off answers to `Authorization` (RFC 9111 §3.5); of this header they know
            # nothing.
            response.headers.setdefault("Cache-Control", "no-store")
            patch_vary_headers(response, ("X-API-Key",))
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        return plain_problem_response(exception, request) if isinstance(exception, SecureAuthError) else None
