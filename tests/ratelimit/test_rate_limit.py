"""`@rate_limit`: exactly so many pass, before any kind of view."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.views import View
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_secure_auth.decorators import rate_limit
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.rate import Rate
from django_secure_auth.models import SecurityEvent
from django_secure_auth.ratelimit.counter import counter_for
from django_secure_auth.ratelimit.throttling import RateLimitThrottle
from django_secure_auth.request_scope import Credentials
from django_secure_auth.routes import routes
from tests.browser import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still but for a test that moves it: on a slow machine a window of a minute may end in between."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


def request(method: str = "GET", *, address: str = "192.0.2.1", user: Any = None, key: str = "") -> HttpRequest:
    made = getattr(RequestFactory(), method.lower())("/here/", REMOTE_ADDR=address)
    made.user = user or AnonymousUser()
    if key:
        made.META["HTTP_X_API_KEY"] = key
        made.auth = Credentials(None, (), None, "api_key")  # type: ignore[arg-type]  # no time is asked for
    return made  # type: ignore[no-any-return]  # of a factory without types


def somebody(pk: int) -> Any:
    return SimpleNamespace(pk=pk, is_authenticated=True, is_active=True)


def ok(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("ok")


async def later(request: Any) -> HttpResponse:
    return HttpResponse("ok")


def of_function() -> Callable[..., Any]:
    return rate_limit("2/min")(ok)


def of_async_function() -> Callable[..., Any]:
    view = rate_limit("2/min")(later)
    assert iscoroutinefunction(view)
    return async_to_sync(view)


def of_class() -> Callable[..., Any]:
    @rate_limit("2/min")
    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return ok(request)

    return Page.as_view()


def of_async_class() -> Callable[..., Any]:
    @rate_limit("2/min")
    class Page(View):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return ok(request)

    view: Any = Page.as_view()
    return async_to_sync(view)


def of_method() -> Callable[..., Any]:
    class Page(View):
        @rate_limit("2/min")
        def get(self, request: HttpRequest) -> HttpResponse:
            return ok(request)

    return Page.as_view()


class Open(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        return Response("ok")


def of_drf_class() -> Callable[..., Any]:
    return rate_limit("2/min")(type("Limited", (Open,), {})).as_view()


def of_drf_method() -> Callable[..., Any]:
    class Limited(Open):
        @rate_limit("2/min")
        def get(self, request: Request) -> Response:
            return Response("ok")

    return Limited.as_view()


def of_action() -> Callable[..., Any]:
    class Set(ViewSet):
        authentication_classes = ()
        permission_classes = (AllowAny,)

        @rate_limit("2/min")
        def list(self, request: Request) -> Response:
            return Response("ok")

    return Set.as_view({"get": "list"})


def below_api_view() -> Callable[..., Any]:
    return api_view(["GET"])(permission_classes([AllowAny])(rate_limit("2/min")(lambda request: Response("ok"))))


def above_api_view() -> Callable[..., Any]:
    return rate_limit("2/min")(api_view(["GET"])(permission_classes([AllowAny])(lambda request: Response("ok"))))


KINDS = (
    of_function, of_async_function, of_class, of_async_class, of_method, of_drf_class, of_drf_method, of_action,
    below_api_view, above_api_view,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_so_many_pass_and_no_more_before_every_kind_of_view(kind: Callable[[], Callable[..., Any]]) -> None:
    view = kind()
    assert [view(request()).status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = view(request())
    refused = refused.render() if hasattr(refused, "render") else refused
    document = json.loads(refused.content)
    assert (document["code"], refused.headers["Content-Type"]) == ("rate_limited", "application/problem+json")
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    assert refused.headers["RateLimit-Policy"] == '"view";q=2;w=60'
    assert view(request(address="192.0.2.2")).status_code == 200
    event = SecurityEvent.objects.get()  # once in a window
    assert (event.event, event.details["endpoint"]) == ("excess_rate_limit_exceeded", "/here/")


def passed(view: Any, *requests: HttpRequest) -> list[bool]:
    return [view(one).status_code == 200 for one in requests]


def test_limits_stack_and_each_has_counters_of_its_own() -> None:
    """R16: several windows of one view do not share a counter."""
    view = rate_limit("3/hour")(rate_limit("2/min", per="user")(ok))
    ana, ben = somebody(1), somebody(2)
    assert passed(view, request(user=ana), request(user=ana), request(user=ana)) == [True, True, False]
    # The refused one had counted for the address.
    assert passed(view, request(user=ben), request(user=ben, address="192.0.2.9")) == [False, True]


def test_at_a_windows_edge_a_view_lets_nobody_have_the_limit_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    view = rate_limit("10/min", name="edge")(ok)
    edge = counter_for("edge", ("edge", "ip", address_prefix("192.0.2.1")), Rate(10, 60)).over_at
    monkeypatch.setattr(time, "time", lambda: edge - 0.01)
    assert passed(view, *[request()] * 12).count(True) == 10
    for second in (0.01, 1, 5.9):
        monkeypatch.setattr(time, "time", lambda second=second: edge + second)
        assert passed(view, *[request()] * 12).count(True) == 0
    monkeypatch.setattr(time, "time", lambda: edge + 6.1)  # a tenth of the window has slid out
    assert passed(view, *[request()] * 12).count(True) == 1


def test_of_several_windows_each_holds_and_what_one_refuses_counts_in_none(clock: Clock) -> None:
    view = rate_limit("2/min, 3/hour")(ok)
    assert passed(view, *[request()] * 6) == [True, True, False, False, False, False]
    clock.forward(seconds=125)  # had the four refused counted, the hour would be used up
    assert passed(view, *[request()] * 2) == [True, False]
    refused = view(request())
    # Both refuse: who came back after a minute would come in vain.
    assert refused.headers["RateLimit-Policy"] == '"view";q=3;w=3600'
    assert int(refused.headers["Retry-After"]) > 120
    told = [event.details["limit"] for event in SecurityEvent.objects.all()]
    assert told == ["view", "view"]  # the first refusal of each window


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ("ip", {"address": "2001:db8::1"}, {"address": "2001:db8:0:1::1"}),
        ("user", {"user": somebody(1)}, {"user": somebody(2)}),
        ("user", {}, {"user": somebody(1)}),
        ("user_or_ip", {"user": somebody(1)}, {"user": somebody(2)}),
        ("user_or_ip", {}, {"address": "192.0.2.7"}),
        ("api_key", {"key": "a", "user": somebody(1)}, {"key": "b", "user": somebody(1)}),
        ("api_key", {"user": somebody(1)}, {"user": somebody(2)}),
        (lambda request: request.META["REMOTE_ADDR"], {}, {"address": "192.0.2.7"}),
    ],
)
def test_each_caller_is_counted_alone(per: Any, same: Any, other: Any) -> None:
    view = rate_limit("1/min", per=per)(ok)
    assert passed(view, request(**same), request(**same), request(**other)) == [True, False, True]


def test_an_ipv6_network_is_one_caller_and_nobodys_budget_is_shared_by_who_is_signed_in() -> None:
    view = rate_limit("1/min")(ok)
    assert passed(view, request(address="2001:db8::1"), request(address="2001:db8::2")) == [True, False]
    view = rate_limit("1/min", per="user", name="other")(ok)
    assert passed(view, request(), request(address="192.0.2.8"), request(user=somebody(1))) == [True, False, True]


def test_whom_the_function_does_not_name_is_not_counted_and_what_it_must_not_return_is_an_error() -> None:
    view = rate_limit("1/min", per=lambda request: None)(ok)
    assert passed(view, request(), request()) == [True, True]
    wrong: Any = lambda request: 7  # noqa: E731  # one of the answers that are none
    with pytest.raises(TypeError, match="not int"):
        rate_limit("1/min", per=wrong)(ok)(request())


def test_methods_that_are_not_named_are_not_counted() -> None:
    view = rate_limit("1/min", methods=["POST"])(ok)
    assert passed(view, request(), request(), request("POST"), request("POST")) == [True, True, True, False]
    view = rate_limit("1/min", methods=["GET"], name="reading")(ok)
    assert passed(view, request("HEAD"), request("GET"), request("POST")) == [True, False, True]
    view = rate_limit("1/min", name="all-but-preflights")(ok)
    assert passed(view, request("OPTIONS"), request("OPTIONS"), request("PUT"), request("DELETE")) == [
        True, True, True, False,
    ]  # fmt: skip


def test_views_of_one_name_share_the_counters_and_others_do_not() -> None:
    one, two = rate_limit("1/min", name="search")(ok), rate_limit("1/min", name="search")(ok)
    assert passed(one, request()) == [True]
    refused = two(request())
    assert refused.status_code == 429
    assert refused.headers["RateLimit"].startswith('"search";r=0')
    assert passed(rate_limit("1/min")(ok), request()) == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": "10/5x"}, "not a rate"),
        ({"rate": 10}, "not a rate"),
        ({"rate": "5/min, 10/5x"}, "not a rate"),
        ({"rate": "5/min,"}, "not a rate"),
        ({"rate": ""}, "not a rate"),
        ({"rate": "5/min, 10/min"}, "does not grow"),
        ({"rate": "100/hour, 5/min"}, "does not grow"),
        ({"rate": "5/min, 5/hour"}, "does not grow"),
        ({"rate": "0/min"}, "not a rate"),
        ({"rate": "1/min", "per": "address"}, "per is one of ip, user, user_or_ip, api_key"),
        ({"rate": "1/min", "methods": []}, "methods are some of"),
        ({"rate": "1/min", "methods": "GET"}, "methods are some of"),
        ({"rate": "1/min", "methods": ["get"]}, "methods are some of"),
        ({"rate": "1/min", "name": 'a"b'}, "a name is"),
        ({"rate": "1/min", "name": 7}, "a name is"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(arguments: Any, message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        rate_limit(**arguments)


def test_what_is_no_view_is_refused() -> None:
    limit: Any = rate_limit("1/min")
    for thing in (7, type("Thing", (), {})):
        with pytest.raises(ImproperlyConfigured, match="is for views"):
            limit(thing)
    with pytest.raises(ImproperlyConfigured, match="without a request"):
        limit(lambda: None)()
    # Nobody is signed in yet for a decorator outside of DRF: all would be one caller.
    with pytest.raises(ImproperlyConfigured, match="below @api_view"):
        rate_limit("1/min", per="user")(Open.as_view())


def test_while_the_cache_is_away_everybody_passes_or_nobody_as_was_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> int:
        raise ConnectionError

    monkeypatch.setattr("django_secure_auth.ratelimit.services.take", away)
    assert passed(rate_limit("1/min")(ok), request(), request()) == [True, True]
    assert "cannot count" in caplog.text
    closed = rate_limit("1/min", fail_open=False)(ok)(request())
    assert (closed.status_code, json.loads(closed.content)["code"]) == (503, "state_unavailable")
    (event,) = SecurityEvent.objects.all()  # one in a minute, not one for each
    assert (event.event, event.severity) == ("rate_limit_unavailable", "HIGH")
    assert event.details == {"limit": "view", "policy": "open", "error": "ConnectionError"}


def test_what_views_do_while_the_cache_is_away_is_a_setting_which_the_view_itself_overrules(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    def away(*_: Any) -> int:
        raise ConnectionError

    monkeypatch.setattr("django_secure_auth.ratelimit.services.take", away)
    configure(RATE_LIMIT_WHEN_AWAY={"view": "closed"})
    assert passed(rate_limit("1/min")(ok), request()) == [False]
    assert passed(rate_limit("1/min", fail_open=True)(ok), request()) == [True]
    assert throttled(Burst)(request()).status_code == 503


@pytest.mark.django_db(transaction=True)
def test_of_sixty_four_at_once_exactly_the_limit_passes() -> None:
    view = rate_limit("10/hour")(ok)

    def call(_: int) -> int:
        try:
            return view(request()).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(call, range(64)))
    assert statuses.count(200) == 10


# --- as a throttle of DRF's ---------------------------------------------------------------------------


class Burst(RateLimitThrottle):
    rate = "2/min"


class Everywhere(RateLimitThrottle):
    rate, name, per = "3/min", "everywhere", lambda request: request.META["REMOTE_ADDR"]


def throttled(*classes: Any) -> Callable[..., Any]:
    return type("Throttled", (Open,), {"throttle_classes": classes}).as_view()  # type: ignore[attr-defined]  # a view


def test_a_throttle_counts_each_view_by_itself_unless_they_share_a_name() -> None:
    """R15: and no parallel call slips in between, since it is the same counter."""
    assert passed(throttled(Burst), *(request() for _ in range(3))) == [True, True, False]
    one, two = throttled(Everywhere), type("Other", (Open,), {"throttle_classes": [Everywhere]}).as_view()  # type: ignore[attr-defined]  # as above
    assert passed(one, request(), request(), request()) == [True, True, True]
    refused = two(request()).render()
    assert json.loads(refused.content)["code"] == "rate_limited"
    assert refused.headers["RateLimit-Policy"] == '"everywhere";q=3;w=60'


def test_a_throttle_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="not a rate"):
        type("Wrong", (RateLimitThrottle,), {"rate": "5/fortnight"})
    with pytest.raises(ImproperlyConfigured, match="has no rate"):
        RateLimitThrottle().allow_request(Request(request()), Open())
    assert [str(RateLimitThrottle()), str(Burst())] == ["no rate", "2/60s per user_or_ip"]


# --- shown ---------------------------------------------------------------------------------------------


class Listed(Open):
    get = rate_limit("7/hour", per="user")(Open.get)


urlpatterns = [
    path("function/", rate_limit("5/min")(rate_limit("6/day")(ok))),
    path("class/", rate_limit("8/min", per=somebody)(type("Counted", (Open,), {})).as_view()),
    path("method/", Listed.as_view()),
    path("plain/", rate_limit("9/min")(type("Page", (View,), {"get": ok})).as_view()),
]


def test_the_walk_over_the_urls_shows_the_limits() -> None:
    assert {route.path: route.throttle for route in routes(__name__)} == {
        "/function/": ("5/60s per ip", "6/86400s per ip"),
        "/class/": ("8/60s per somebody",),
        "/method/": ("7/3600s per user",),
        "/plain/": ("9/60s per ip",),
    }
