"""The middleware under ASGI, and what it runs at the end of a request."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model, login
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path, reverse

from django_secure_auth.request_scope import current_scope
from django_secure_auth.sessions.middleware import IdleTimeoutMiddleware
from tests.browser import Browser, admin_browser, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_runs_what_was_deferred_also_when_the_view_raises() -> None:
    ran: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        scope = current_scope()
        assert scope is not None
        scope.deferred.append(lambda: ran.append("deferred"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        IdleTimeoutMiddleware(view)(HttpRequest())
    assert ran == ["deferred"]
    assert current_scope() is None


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("defers", [True, False])
def test_the_same_under_asgi(fails: bool, defers: bool) -> None:
    ran: list[str] = []

    async def view(request: HttpRequest) -> HttpResponse:
        scope = current_scope()
        assert scope is not None
        if defers:
            scope.deferred.append(lambda: ran.append("deferred"))
        if fails:
            raise RuntimeError
        return HttpResponse("ok")

    middleware: Any = IdleTimeoutMiddleware(view)

    async def call() -> Any:
        return await middleware(HttpRequest())

    if fails:
        with pytest.raises(RuntimeError):
            async_to_sync(call)()
    else:
        assert async_to_sync(call)().content == b"ok"
    assert ran == (["deferred"] if defers else [])


def test_a_request_through_asgi_is_answered_and_timed_out(clock: Any) -> None:
    root = admin_browser()
    api = Browser()
    make_user()
    api.sign_in()

    async def get(browser: Browser, path: str) -> int:
        client = AsyncClient()
        client.cookies = browser.client.cookies
        response = await client.get(path, secure=True)
        return int(response.status_code)

    assert async_to_sync(get)(root, reverse("admin:index")) == 200
    assert async_to_sync(get)(api, reverse("secure_auth:me")) == 200
    clock.forward(minutes=32)
    assert async_to_sync(get)(root, reverse("admin:index")) == 302
    assert async_to_sync(get)(api, reverse("secure_auth:me")) == 401
    async_to_sync(sync_to_async(connection.close))()


@pytest.mark.parametrize("background", [True, False])
def test_the_clock_starts_with_the_sign_in_whatever_follows(background: bool, settings: Any, clock: Any) -> None:
    """A session that signed in and then only polled, or did nothing, is over like any other."""
    settings.ROOT_URLCONF = __name__
    make_user()
    client = Client()
    client.get("/enter/")
    assert client.get("/who/").content == b"in"
    fresh = Client()
    fresh.get("/enter/")
    for _ in range(4):
        clock.forward(minutes=10)
        if background:
            fresh.get("/poll/")
    assert fresh.get("/who/").content == b"out"


def test_a_session_from_before_the_middleware_counts_from_its_next_request(settings: Any, clock: Any) -> None:
    settings.ROOT_URLCONF = __name__
    with override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if "IdleTimeout" not in name]):
        client = Client()
        make_user()
        client.get("/enter/")
    client.handler._middleware_chain = None  # loaded anew, with the middleware
    assert client.get("/poll/").content == b"in"
    clock.forward(minutes=32)
    assert client.get("/poll/").content == b"out"


def _enter(request: HttpRequest) -> HttpResponse:
    login(request, get_user_model()._default_manager.get(), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("welcome")


def _who(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in" if request.user.is_authenticated else "out")


def _poll(request: HttpRequest) -> HttpResponse:
    return _who(request)


_poll.secure_auth_background = True  # type: ignore[attr-defined]  # how a view is marked

urlpatterns = [path("enter/", _enter), path("who/", _who), path("poll/", _poll)]
