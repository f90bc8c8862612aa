"""An attempt is counted before it is judged, and given back when it was right."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.exceptions import RateLimited, StateUnavailable
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit import counter as counter_module
from django_secure_auth.ratelimit import services
from django_secure_auth.ratelimit.counter import Counter, counter_for, take
from django_secure_auth.ratelimit.services import (
    LimitReached,
    Reservation,
    give_back,
    keep,
    reserve,
    reserve_at,
    reserve_member,
)

AWAY = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}


@pytest.fixture(autouse=True)
def limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    caches["default"].clear()
    settings.DJANGO_SECURE_AUTH = {"RATE_LIMITS": {"otp": "3/m", "refresh": "2/h"}}
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.5)  # no window ends in the middle of a test
    return settings


def refused(*parts: str, limit: str = "otp") -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        reserve(limit, *parts)
    return caught.value


def use_up(*parts: str) -> list[Reservation | None]:
    return [reserve("otp", *parts) for _ in range(3)]


def test_exactly_as_many_pass_as_the_limit_says() -> None:
    assert all(use_up("ana"))
    refused("ana")
    refused("ana")


def test_each_one_has_its_own_budget() -> None:
    """R11: what one caller uses up, or gives back, is that one's alone."""
    mine = use_up("ana")
    use_up("ben")
    give_back(*mine)
    assert reserve("otp", "ana") is not None
    refused("ben")
    assert reserve("refresh", "ben") is not None


def test_a_limit_that_is_not_overridden_keeps_its_default() -> None:
    reservation = reserve("login_account", "ana")
    assert reservation is not None
    assert [counter.rate for counter in reservation.counters] == [Rate(10, 900)]


def test_hammering_neither_prolongs_a_block_nor_swallows_what_is_given_back() -> None:
    """R9: retrying while locked does not prolong the lock."""
    (first, *_) = use_up("ana")
    for _ in range(50):
        refused("ana")
    give_back(first)
    assert reserve("otp", "ana") is not None
    refused("ana")


def test_a_block_ends_when_it_said_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """R14: a counter without end does not exist."""
    use_up("ana")
    wait = int(refused("ana").headers["Retry-After"])
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.5 + wait)
    assert reserve("otp", "ana") is not None


@pytest.mark.control("ASVS-2.4.1")
def test_the_refusal_says_which_limit_and_when_to_come_back() -> None:
    use_up("ana")
    refusal = refused("ana")
    assert isinstance(refusal, RateLimited)
    assert refusal.limit == "otp"
    left = int(refusal.headers["Retry-After"])
    assert 1 <= left <= 60
    assert refusal.headers["RateLimit-Policy"] == '"otp";q=3;w=60'
    assert refusal.headers["RateLimit"] == f'"otp";r=0;t={left}'


@pytest.mark.django_db
def test_the_first_refusal_of_a_window_is_written_to_the_trail() -> None:
    use_up("ana")
    for _ in range(3):
        refused("ana")
    use_up("ben")
    refused("ben")
    told = SecurityEvent.objects.filter(event="excess_rate_limit_exceeded")
    assert [event.details["limit"] for event in told] == ["otp", "otp"]


@pytest.mark.control("ASVS-15.4.2")
def test_of_parallel_attempts_exactly_as_many_pass_as_the_limit_says() -> None:
    """R8, R15: the attempt is counted before it is judged."""
    barrier, passed = threading.Barrier(16), []

    def attempt() -> None:
        barrier.wait()
        for _ in range(4):
            try:
                passed.append(reserve("otp", "ana"))
            except LimitReached:
                pass

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 3


def test_an_attempt_that_meets_the_edge_under_way_is_counted_in_the_next_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or one that came before the edge would pass after others had looked at its window."""
    edge = counter_for("otp", ("ana",), Rate(3, 60)).over_at
    moment = edge - 0.001
    monkeypatch.setattr(time, "time", lambda: moment)

    def slow(cache: Any, counter: Counter) -> int:
        nonlocal moment
        number = take(cache, counter)
        moment += jump
        return number

    monkeypatch.setattr(services, "take", slow)
    jump = 0.002
    taken = reserve("otp", "ana")
    assert taken is not None
    assert [counter.over_at for counter in taken.counters] == [edge + 60]
    assert caches["default"].get(taken.counters[0].key_before) == 0
    assert caches["default"].get(taken.counters[0].key) == 1


@pytest.mark.django_db
def test_a_cache_that_takes_longer_than_a_window_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1_800_000_000.5
    monkeypatch.setattr(time, "time", lambda: moment)

    def slow(cache: Any, counter: Counter) -> int:
        nonlocal moment
        moment += 61
        return take(cache, counter)

    monkeypatch.setattr(services, "take", slow)
    with pytest.raises(StateUnavailable):
        reserve("otp", "ana")


@pytest.mark.django_db
def test_what_the_first_window_refuses_does_not_touch_the_second_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many at once, those that have room in the first would find the second full of those that have none."""
    rates = Rate.parse_several("2/h, 3/d")
    touched: list[int] = []

    def spied(cache: Any, counter: Counter) -> int:
        touched.append(counter.rate.limit)
        return take(cache, counter)

    monkeypatch.setattr(services, "take", spied)
    for _ in range(2):
        reserve_at(rates, "otp", "ana")
    assert touched == [2, 3, 2, 3]
    with pytest.raises(LimitReached) as caught:
        reserve_at(rates, "otp", "ana")
    assert touched[4:] == [2]
    assert caught.value.headers["RateLimit-Policy"] == '"otp";q=2;w=3600'


@given(st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=80))
def test_who_waits_as_long_as_several_windows_say_passes_and_each_of_them_holds(pauses: list[float]) -> None:
    """R14: and at most N * (1 + T/W) pass in any T, for each window."""
    rates = Rate.parse_several("3/min, 7/5min, 20/h")
    now, passed = 1_800_000_000.5, []
    caches["default"].clear()
    counter_module._over.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        patch.setattr(services, "record", lambda *_, **__: None)
        for pause in pauses:
            now += pause
            try:
                reserve_at(rates, "otp", "ana")
            except LimitReached as refusal:
                now += int(refusal.headers["Retry-After"])
                reserve_at(rates, "otp", "ana")
            passed.append(now)
    for rate in rates:
        for first, begin in enumerate(passed):
            for number, moment in enumerate(passed[first:], start=1):
                assert number <= rate.limit * (1 + (moment - begin) / rate.seconds) + 1e-6


@pytest.mark.django_db(transaction=True)
def test_of_members_at_once_exactly_as_many_pass_as_the_limit_says() -> None:
    request: Any = RequestFactory().post("/")
    barrier, passed = threading.Barrier(32), []

    def attempt(number: int) -> None:
        barrier.wait()
        try:
            passed.append(reserve_member("otp", "one", member=f"m{number}", request=request, description="why"))
        except LimitReached:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 3


# --- without a cache ---------------------------------------------------------------------------------


@pytest.fixture
def away(limits: Any) -> None:
    limits.CACHES = {"default": AWAY}


@pytest.mark.control("ASVS-16.5.3")
@pytest.mark.usefixtures("away")
@pytest.mark.django_db
def test_without_its_cache_a_limit_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="django_secure_auth"), pytest.raises(StateUnavailable):
        reserve("otp", "ana@example.com")
    assert [entry.getMessage() for entry in caplog.records] == [
        "The rate-limit cache is away (ConnectionError); limit otp cannot count.",
        "Limits cannot count: their cache is away",
    ]


@pytest.mark.usefixtures("away")
@pytest.mark.django_db
def test_without_its_cache_a_limit_that_only_guards_the_load_is_open() -> None:
    assert reserve("refresh", "192.0.2.0/24") is None


@pytest.mark.usefixtures("away")
@pytest.mark.django_db
def test_what_is_done_without_the_cache_is_a_setting(configure: Callable[..., None]) -> None:
    configure(RATE_LIMIT_WHEN_AWAY={"otp": "open", "refresh": "closed"})
    assert reserve("otp", "ana") is None
    with pytest.raises(StateUnavailable):
        reserve("refresh", "192.0.2.0/24")
    with pytest.raises(StateUnavailable):
        reserve("login_account", "ana")  # what is not named stays as it was


@pytest.mark.usefixtures("away")
@pytest.mark.django_db
def test_an_outage_is_an_event_once_a_minute_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1000.0, 1001.0, 1059.0, 1060.5, 1061.0]
    for moment in moments:
        monkeypatch.setattr(time, "monotonic", lambda moment=moment: moment)
        reserve("refresh", "192.0.2.0/24")
    events = SecurityEvent.objects.filter(event="rate_limit_unavailable")
    assert [event.details["policy"] for event in events] == ["open", "open"]


@pytest.mark.django_db
def test_a_limit_of_members_counts_each_once(monkeypatch: pytest.MonkeyPatch, limits: Any) -> None:
    request: Any = RequestFactory().post("/")

    def member(name: str) -> Reservation | None:
        return reserve_member("otp", "one", member=name, request=request, description="why")

    for _ in range(5):
        keep(member("ana"))
    taken = member("ben")
    keep(member("cleo"))
    with pytest.raises(LimitReached):
        member("dora")
    assert member("ana") is None  # counted already
    give_back(taken)
    keep(member("dora"))
    (event,) = SecurityEvent.objects.all()
    assert (event.event, event.details["description"], event.details["limit"]) == ("suspicious_request", "why", "otp")
    monkeypatch.setattr(time, "time", lambda: 1_800_000_200.5)
    assert member("ana") is not None  # in another window anew


@pytest.mark.django_db
def test_a_limit_of_members_without_its_cache(
    limits: Any, configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    request: Any = RequestFactory().post("/")
    limits.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "other"}}
    taken = reserve_member("otp", "one", member="ana", request=request, description="why")
    limits.CACHES = {"default": AWAY}
    with caplog.at_level(logging.WARNING, logger="django_secure_auth"):
        keep(taken)
    assert [entry.getMessage() for entry in caplog.records] == [
        "A rate-limit member could not be remembered: ConnectionError"
    ]
    with pytest.raises(StateUnavailable):
        reserve_member("otp", "one", member="ana", request=request, description="why")
    configure(RATE_LIMIT_WHEN_AWAY={"otp": "open"})
    assert reserve_member("otp", "one", member="ana", request=request, description="why") is None
    keep(None)


@pytest.mark.usefixtures("away")
def test_giving_back_never_fails(caplog: pytest.LogCaptureFixture, limits: Any) -> None:
    limits.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "other"}}
    reservation = reserve("otp", "ana")
    limits.CACHES = {"default": AWAY}
    with caplog.at_level(logging.WARNING, logger="django_secure_auth"):
        give_back(None, reservation, None)
    assert [entry.getMessage() for entry in caplog.records] == [
        "A rate-limit counter could not be given back: ConnectionError"
    ]


@pytest.mark.django_db
def test_an_endpoint_over_its_limit_answers_429_with_its_headers_and_tells_the_trail_once() -> None:
    client = Client()
    statuses = [client.post("/api/auth/refresh/").status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]
    response = client.post("/api/auth/refresh/")
    assert response.json()["code"] == "rate_limited"
    assert response["RateLimit-Policy"] == '"refresh";q=2;w=3600'
    assert SecurityEvent.objects.filter(event="excess_rate_limit_exceeded").count() == 1
