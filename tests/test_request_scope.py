"""What belongs to one request, and what is written after its transaction has ended."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.asgi import get_asgi_application
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import Forbidden
from django_secure_auth.request_scope import (
    Scope,
    after_transaction,
    current_scope,
    open_scope,
    plain_request,
    run_deferred,
    scope_of,
)


class RefusingView(APIView):
    """Writes, tells the trail, and refuses: all but the telling is taken back."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        Group.objects.create(name="half-done")
        record(events.AUTHZ_FAIL, request=request, resource="invoice")
        raise Forbidden


class CrashingView(RefusingView):
    def get(self, request: Request) -> Response:
        Group.objects.create(name="half-done")
        record(events.SUSPICIOUS, description="just before the crash")
        raise RuntimeError


@transaction.non_atomic_requests
def seen(request: HttpRequest) -> HttpResponse:
    scope = current_scope()
    assert scope is not None
    assert scope is scope_of(request)
    return HttpResponse(scope.request_id)


@transaction.non_atomic_requests
async def seen_later(request: HttpRequest) -> HttpResponse:
    scope = current_scope()
    assert scope is not None
    await asyncio.sleep(0)
    assert current_scope() is scope
    return HttpResponse(scope.request_id)


urlpatterns = [
    path("refusing/", RefusingView.as_view()),
    path("crashing/", CrashingView.as_view()),
    path("seen/", seen),
    path("seen-later/", seen_later),
]

pytestmark = pytest.mark.urls(__name__)


# --- what a scope says -------------------------------------------------------------------------------


def test_the_request_id_is_ours_whatever_the_client_sends(rf: RequestFactory) -> None:
    headers = {"X-Request-ID": "forged", "X-Correlation-ID": "forged", "Traceparent": "forged"}
    ids = {scope_of(rf.get("/", headers=headers)).request_id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_a_request_has_one_scope_also_behind_drfs(rf: RequestFactory) -> None:
    bare = rf.get("/")
    assert scope_of(Request(bare)) is scope_of(bare)
    assert plain_request(Request(bare)) is plain_request(bare) is bare


@pytest.mark.control("ASVS-15.3.4")
@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.9", "10.0.0.1"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (["10.0.0.0/8"], "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (("10.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_address_follows_trusted_proxies(
    proxies: Any, forwarded: str, address: str, rf: RequestFactory, settings: Any
) -> None:
    """R13: the same value for limits, sessions and audit."""
    settings.DJANGO_SECURE_AUTH = {"TRUSTED_PROXIES": proxies}
    request = rf.get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert scope_of(request).ip_address == address


def test_a_request_that_came_from_nowhere_has_a_scope() -> None:
    scope = scope_of(HttpRequest())
    assert (scope.ip_address, scope.user_agent) == (None, "")


@pytest.mark.control("ASVS-1.3.3")
def test_the_user_agent_is_printable_and_short(rf: RequestFactory) -> None:
    hostile = " \x1b[31mFire\r\nSet-Cookie: a=b\u202e\0fox\u2028 " + "x" * 1000
    agent = scope_of(rf.get("/", HTTP_USER_AGENT=hostile)).user_agent
    assert agent.isprintable()
    assert len(agent) <= 256
    assert agent.startswith("[31mFire  Set-Cookie: a=b  fox")


# --- which scope is current --------------------------------------------------------------------------


def test_the_scope_is_current_while_it_is_open(rf: RequestFactory) -> None:
    assert current_scope() is None
    with open_scope(rf.get("/")) as outer:
        assert current_scope() is outer
        with open_scope(rf.get("/")) as inner:
            assert current_scope() is inner
        assert current_scope() is outer
    assert current_scope() is None


def test_the_middleware_opens_it(client: Client) -> None:
    ids = {client.get("/seen/").content for _ in range(2)}
    assert len(ids) == 2
    assert current_scope() is None


def test_parallel_async_requests_do_not_see_each_others_scope() -> None:
    async def many() -> list[Any]:
        client = AsyncClient()
        paths = ["/seen-later/", "/seen/"] * 5
        return await asyncio.gather(*(client.get(path) for path in paths))

    responses = asyncio.run(many())
    assert [response.status_code for response in responses] == [200] * 10
    assert len({response.content for response in responses}) == 10


# --- deferring ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_it_is_written_at_once(rf: RequestFactory) -> None:
    done: list[int] = []
    with open_scope(rf.get("/")) as scope:
        after_transaction(lambda: done.append(1))
        assert done == [1]
        assert scope.deferred == []


@pytest.mark.django_db
def test_outside_of_a_request_it_is_written_at_once() -> None:
    done: list[int] = []
    with transaction.atomic():
        after_transaction(lambda: done.append(1))
        assert done == [1]


@pytest.mark.django_db
def test_inside_of_a_requests_transaction_it_waits_and_keeps_its_order(rf: RequestFactory) -> None:
    done: list[int] = []
    with open_scope(rf.get("/")) as scope:
        with transaction.atomic():
            after_transaction(lambda: done.append(1))
            after_transaction(lambda: done.append(2))
        assert done == []
        run_deferred(scope)
        assert done == [1, 2]
        run_deferred(scope)
        assert done == [1, 2]


def test_one_failing_write_stops_neither_the_others_nor_the_response(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError

    scope = Scope({})
    scope.deferred += [lambda: done.append(1), fail, lambda: done.append(2)]
    with caplog.at_level(logging.ERROR, logger="django_secure_auth"):
        run_deferred(scope)
    assert done == [1, 2]
    assert [entry.getMessage() for entry in caplog.records] == [
        "A write that had waited for the end of the request failed."
    ]


@pytest.mark.django_db
def test_what_a_deferred_write_defers_is_written_too(rf: RequestFactory) -> None:
    done: list[str] = []

    def first() -> None:
        done.append("first")
        with transaction.atomic():
            after_transaction(lambda: done.append("second"))

    with open_scope(rf.get("/")) as scope:
        with transaction.atomic():
            after_transaction(first)
        run_deferred(scope)
    assert done == ["first", "second"]


# --- in a whole request ------------------------------------------------------------------------------


@pytest.fixture
def atomic_requests(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


def the_trail_alone_is_left(event: str, request_id: str | None = None) -> None:
    assert not Group.objects.filter(name="half-done").exists()
    row = SecurityEvent.objects.get()
    assert row.event == event
    assert request_id in {None, row.request_id}


@pytest.mark.usefixtures("atomic_requests")
def test_the_trail_of_a_refusal_survives_its_rollback(client: Client) -> None:
    response = client.get("/refusing/")
    assert response.status_code == 403
    the_trail_alone_is_left("authz_fail", response.json()["request_id"])


@pytest.mark.usefixtures("atomic_requests")
def test_the_trail_of_a_crash_survives_its_rollback() -> None:
    response = Client(raise_request_exception=False).get("/crashing/")
    assert response.status_code == 500
    the_trail_alone_is_left("suspicious_request", response.json()["request_id"])


@pytest.mark.usefixtures("atomic_requests")
def test_the_trail_of_an_async_servers_refusal_survives_its_rollback() -> None:
    async def get() -> Any:
        try:
            return await AsyncClient().get("/refusing/")
        finally:
            await sync_to_async(connections.close_all)()  # the view's thread has one of its own

    response = asyncio.run(get())
    assert response.status_code == 403
    the_trail_alone_is_left("authz_fail", response.json()["request_id"])


def test_an_asgi_server_gets_the_same_answer() -> None:
    """The whole ASGI handler, as a server calls it: messages in, messages out."""

    async def call() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/seen-later/",
            "raw_path": b"/seen-later/",
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"x-request-id", b"forged")],
            "client": ("192.0.2.7", 5555),
            "server": ("testserver", 80),
            "scheme": "http",
        }
        await get_asgi_application()(scope, receive, send)
        return sent

    start, body = asyncio.run(call())[:2]
    assert start["status"] == 200
    assert len(body["body"]) == 32
    assert (b"X-Content-Type-Options", b"nosniff") in start["headers"]
