"""One counter of one window: its key, its end, and how it is moved."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.core.cache import BaseCache, caches
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.counter import Counter, counter_for, put_back, take

TEN = Rate(10, 900)


@pytest.fixture
def cache() -> BaseCache:
    found = caches["default"]
    found.clear()
    return found


def key_of(*parts: str, name: str = "otp", rate: Rate = TEN) -> str:
    return counter_for(name, parts, rate).key


# --- the key -----------------------------------------------------------------------------------------


def test_parts_are_not_simply_joined() -> None:
    """R10: `bob` + `10.0.0.1` and `bob1` + `0.0.0.1` have a counter each."""
    assert key_of("bob", "10.0.0.1") != key_of("bob1", "0.0.0.1")
    assert key_of("a", "bc") != key_of("ab", "c") != key_of("abc") != key_of("abc", "")


def test_every_limit_and_every_window_has_its_own_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """R16: several windows of one scope do not share one entry."""
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    keys = {
        key_of("ana"),
        key_of("ben"),
        key_of("ana", name="refresh"),
        key_of("ana", rate=Rate(10, 60)),
        key_of("ana", rate=Rate(5, 900)),
    }
    assert len(keys) == 5
    monkeypatch.setattr(time, "time", lambda: 1_000_000_901.0)
    assert key_of("ana") not in keys


@pytest.mark.control("ASVS-1.3.9")
@given(st.lists(st.text(st.characters(), max_size=500), max_size=3))
def test_a_key_fits_any_cache_whatever_the_parts(parts: list[str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9:._-]{1,200}", key_of(*parts))


@given(st.integers(0, 2**33), st.sampled_from([1, 2, 60, 900, 86400]), st.text(max_size=5))
def test_a_window_is_as_long_as_its_rate_says(now: int, seconds: int, part: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: float(now))
        counter = counter_for("otp", (part,), Rate(1, seconds))
        assert 1 <= counter.seconds_left <= seconds
        assert counter.lifetime > seconds


@given(st.integers(0, 2**33), st.sampled_from([1, 2, 60, 900, 86400]), st.text(max_size=5))
def test_who_waits_as_long_as_told_is_in_the_next_window(now: int, seconds: int, part: str) -> None:
    """R14: a block always ends, and not later than it said."""
    rate = Rate(1, seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: float(now))
        counter = counter_for("otp", (part,), rate)
        wait = counter.seconds_left
        patch.setattr(time, "time", lambda: float(now + wait - 1))
        assert counter_for("otp", (part,), rate).key == counter.key
        patch.setattr(time, "time", lambda: float(now + wait))
        assert counter_for("otp", (part,), rate).key != counter.key


# --- moving it ---------------------------------------------------------------------------------------


def test_each_attempt_gets_its_number(cache: BaseCache) -> None:
    counter = counter_for("otp", ("ana",), TEN)
    assert [take(cache, counter) for _ in range(4)] == [1, 2, 3, 4]
    put_back(cache, counter)
    assert take(cache, counter) == 4


def test_giving_back_to_a_counter_that_is_gone_changes_nothing(cache: BaseCache) -> None:
    counter = counter_for("otp", ("ana",), TEN)
    put_back(cache, counter)
    assert cache.get(counter.key) is None


class Fickle:
    """A cache that behaves as told; each answer is a value or an exception."""

    def __init__(self, adds: list[bool], incs: list[Any]) -> None:
        self.adds, self.incs = adds, incs

    def add(self, key: str, value: int, timeout: int) -> bool:
        return self.adds.pop(0)

    def incr(self, key: str) -> Any:
        answer = self.incs.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def taken(adds: list[bool], incs: list[Any]) -> int:
    cache: Any = Fickle(adds, incs)
    return take(cache, Counter("key", TEN, 0))


def test_a_counter_that_is_evicted_between_look_and_increment_begins_again() -> None:
    assert taken([False, True], [ValueError("gone"), ValueError("gone")]) == 1
    assert taken([False], [ValueError("gone"), 2]) == 2


def test_a_cache_that_does_not_keep_what_it_is_told_is_away() -> None:
    with pytest.raises(ConnectionError):
        taken([False] * 3, [ValueError("gone")] * 3)
    with pytest.raises(ConnectionError):
        taken([False] * 3, [None] * 3)  # a memcached client that swallows its errors


def test_an_error_of_the_cache_comes_out_as_it_is() -> None:
    with pytest.raises(OSError, match="away"):
        taken([], [OSError("away")])
