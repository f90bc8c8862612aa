"""Idle and absolute timeouts of Django's own sessions, and the end of each request.

Our sessions are checked where they authenticate. This middleware gives Django's session (admin, plain
pages) the same limits, runs what had to wait for the end of the request's transaction, and tells of what a
permission refused.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.request_scope import Scope, open_scope, run_deferred

_SEEN = "_secure_auth_seen"
_SINCE = "_secure_auth_since"
# By the code of what was met before any view.
_SUSPICIONS = {"cross_site_request": events.CROSS_SITE, "plain_http": events.SENT_IN_CLEAR}
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class IdleTimeoutMiddleware:
    """Signs a Django session out when it was idle or lived too long. Put it after Django's authentication.

    Server time only; the browser is not asked how long it slept. A view marked
    `secure_auth_background = True` (a poller) is checked and does not count as activity.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer_later(request)
        with open_scope(request) as scope:
            _end_if_over(request)
            try:
                response = cast(HttpResponseBase, self.get_response(request))
                _start_clock(request)
                _tell_suspicions(request, scope)
                _tell_refusal(request, scope, response)
                return response
            finally:
                run_deferred(scope)

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        with open_scope(request) as scope:
            if settings.SESSION_COOKIE_NAME in request.COOKIES:  # else there is no reason to change threads
                await sync_to_async(_end_if_over)(request)
            try:
                response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
                _start_clock(request)
                _tell_suspicions(request, scope)  # collects; what is collected goes to a thread below
                if scope.refusal is not None:
                    await sync_to_async(_tell_refusal)(request, scope, response)
                return response
            finally:
                if scope.deferred or scope.collected:
                    await sync_to_async(run_deferred)(scope)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        target = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
        if not getattr(target, "secure_auth_background", False):
            _stamp(request)


def _is_signed_in(request: HttpRequest) -> bool:
    # Without the cookie the session is not even loaded: API requests pay nothing.
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not hasattr(request, "session"):
        return False
    return SESSION_KEY in request.session


def _end_if_over(request: HttpRequest) -> None:
    if not _is_signed_in(request):
        return
    now = time.time()
    # One that began before this middleware was there counts from now.
    seen, since = request.session.setdefault(_SEEN, now), request.session.setdefault(_SINCE, now)
    idle = conf.SESSION_IDLE_TIMEOUT.total_seconds() + conf.ACTIVITY_INTERVAL.total_seconds()
    if now - seen >= idle or now - since >= conf.SESSION_ABSOLUTE_TIMEOUT.total_seconds():
        user_id = request.session[SESSION_KEY]
        logout(request)
        record(events.SESSION_EXPIRED, request=request, user=user_id)


def _start_clock(request: HttpRequest) -> None:
    # A view has just signed somebody in: the limits count from here, whether another request follows or not.
    session = getattr(request, "session", None)
    if session is not None and session.modified and SESSION_KEY in session:
        now = time.time()
        session.setdefault(_SINCE, now)
        session.setdefault(_SEEN, now)


def _tell_suspicions(request: HttpRequest, scope: Scope) -> None:
    for met in scope.suspicions:
        record(_SUSPICIONS[met.code], request=request, **met.details)


def _tell_refusal(request: Any, scope: Scope, response: HttpResponseBase) -> None:
    # Only now: a permission that refused may have had an alternative that passed.
    if scope.refusal is None or response.status_code not in _REFUSED:
        return
    session_id = getattr(request.auth, "session_id", None)
    record(
        events.AUTHZ_FAIL, request=request, user=request.user, session_id=session_id, resource=request.path[:200],
        reason=scope.refusal.code, **scope.refusal.details,
    )  # fmt: skip


def _stamp(request: HttpRequest) -> None:
    if not _is_signed_in(request):
        return
    now = time.time()
    if now - request.session.get(_SEEN, 0) >= conf.ACTIVITY_INTERVAL.total_seconds():
        request.session[_SEEN] = now
