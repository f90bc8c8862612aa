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
from django_secure_auth.ratelimit.counter import Counter, _over, count_before, counter_for, put_back, take

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


SECONDS = st.sampled_from([1, 2, 60, 900, 86400])


@given(st.integers(0, 2**33), SECONDS, st.text(max_size=5))
def test_a_window_is_as_long_as_its_rate_says_and_knows_the_one_before(now: int, seconds: int, part: str) -> None:
    rate = Rate(1, seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: float(now))
        counter = counter_for("otp", (part,), rate)
        assert 0 < counter.over_at - now <= seconds
        assert counter.lifetime > 2 * seconds
        patch.setattr(time, "time", lambda: float(counter.over_at - 1))
        assert counter_for("otp", (part,), rate).key == counter.key
        patch.setattr(time, "time", lambda: float(counter.over_at))
        after = counter_for("otp", (part,), rate)
        assert (after.key_before, after.over_at) == (counter.key, counter.over_at + seconds)


class Attempts:
    """One counter's attempts at times of the test's choice, without the service around it."""

    def __init__(self, rate: Rate, patch: pytest.MonkeyPatch) -> None:
        self.rate, self.now, self.last_wait = rate, 1_000_000_000.0, 0
        patch.setattr(time, "time", lambda: self.now)
        self.cache = caches["default"]
        self.cache.clear()
        _over.clear()

    def passes(self) -> bool:
        counter = counter_for("otp", ("ana",), self.rate)
        count = take(self.cache, counter)
        before = count_before(self.cache, counter, now=self.now)
        if counter.has_room(count, before, now=self.now):
            return True
        put_back(self.cache, counter)
        self.last_wait = counter.wait(count - 1, before, now=self.now)
        return False


@given(
    st.integers(1, 12),
    st.sampled_from([1, 2, 60, 900]),
    st.lists(st.floats(0, 1.5, allow_nan=False), min_size=1, max_size=60),
)
def test_who_waits_as_long_as_told_passes(limit: int, seconds: int, pauses: list[float]) -> None:
    """R14: a block always ends, and not later than it said."""
    with pytest.MonkeyPatch.context() as patch:
        attempts = Attempts(Rate(limit, seconds), patch)
        for pause in pauses:
            attempts.now += pause * seconds / limit
            if not attempts.passes():
                assert 1 <= attempts.last_wait <= 2 * seconds + 1
                attempts.now += attempts.last_wait
                assert attempts.passes()


@given(st.integers(1, 12), st.lists(st.floats(0, 0.4, allow_nan=False), max_size=80))
def test_less_than_twice_the_limit_passes_in_any_stretch_of_a_windows_length(limit: int, pauses: list[float]) -> None:
    """Fixed windows let twice the limit pass at once around their edge; here what slides out is spread evenly."""
    with pytest.MonkeyPatch.context() as patch:
        attempts = Attempts(Rate(limit, 60), patch)
        passed: list[float] = []
        for pause in pauses:
            attempts.now += pause * 60
            while attempts.passes():
                passed.append(attempts.now)
    for moment in passed:
        assert sum(moment - 60 < other <= moment for other in passed) <= max(1, 2 * limit - 1)


@given(st.integers(1, 12), st.lists(st.tuples(st.floats(0, 1.2, allow_nan=False), st.integers(1, 15)), max_size=60))
def test_in_any_stretch_no_more_passes_than_of_a_bucket_that_fills_evenly(
    limit: int, bursts: list[tuple[float, int]]
) -> None:
    """Of a limit of N in a window of W, at most N * (1 + T/W) pass in any stretch of T, at an edge or not."""
    with pytest.MonkeyPatch.context() as patch:
        attempts = Attempts(Rate(limit, 60), patch)
        passed: list[float] = []
        for pause, size in bursts:
            attempts.now += pause * 60
            passed += [attempts.now for _ in range(size) if attempts.passes()]
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= limit * (1 + (passed[last] - begin) / 60) + 1e-6


def test_the_bound_of_less_than_twice_the_limit_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten at the end of a window, nine evenly in the next: what the documentation says is no more than is so."""
    attempts = Attempts(TEN, monkeypatch)
    attempts.now = edge = counter_for("otp", ("ana",), TEN).over_at
    attempts.now -= 0.5
    passed = [attempts.now for _ in range(12) if attempts.passes()]
    for second in range(1, 900):
        attempts.now = edge + second - 0.6
        if attempts.passes():
            passed.append(attempts.now)
    assert len(passed) == 19
    assert passed[-1] - passed[0] < 900


def test_who_is_counted_just_after_the_edge_is_seen_by_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came before the edge and is counted after another process has looked: that must look again."""
    attempts = Attempts(TEN, monkeypatch)
    attempts.now = edge = counter_for("otp", ("ana",), TEN).over_at
    attempts.now -= 0.001
    under_way = counter_for("otp", ("ana",), TEN)
    attempts.now = edge + 0.001
    assert attempts.passes()  # nobody had been counted
    for _ in range(10):
        take(attempts.cache, under_way)  # now they are
    attempts.now = edge + 1
    assert not attempts.passes()
    attempts.now = edge + 6  # they are remembered from here on
    assert not attempts.passes()
    attempts.cache.delete(under_way.key)
    assert not attempts.passes()


def test_right_after_a_windows_edge_nobody_passes_who_had_used_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(TEN, monkeypatch)
    attempts.now = counter_for("otp", ("ana",), TEN).over_at - 0.5
    assert [attempts.passes() for _ in range(12)] == [True] * 10 + [False] * 2
    attempts.now += 1
    assert not attempts.passes()
    attempts.now += 90  # a tenth of the window has slid out
    assert [attempts.passes() for _ in range(3)] == [True, False, False]
    attempts.now += 900
    assert attempts.passes()


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
        self.touched: list[int] = []

    def add(self, key: str, value: int, timeout: int) -> bool:
        return self.adds.pop(0)

    def touch(self, key: str, timeout: int) -> None:
        self.touched.append(timeout)

    def incr(self, key: str) -> Any:
        answer = self.incs.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def taken(adds: list[bool], incs: list[Any]) -> int:
    cache: Any = Fickle(adds, incs)
    return take(cache, Counter("key", "before", TEN, 0))


def test_a_counter_that_is_evicted_between_look_and_increment_begins_again() -> None:
    assert taken([False, True], [ValueError("gone"), ValueError("gone")]) == 1
    assert taken([False], [ValueError("gone"), 2]) == 2


def test_a_counter_that_vanished_before_its_increment_gets_an_end() -> None:
    """Django's Redis asks whether it is there, then increments: a key that went in between would stay for ever."""
    cache: Any = Fickle([], [1, 2])
    counter = Counter("key", "before", TEN, 0)
    assert [take(cache, counter), take(cache, counter)] == [1, 2]
    assert cache.touched == [counter.lifetime]


def test_a_cache_that_does_not_keep_what_it_is_told_is_away() -> None:
    with pytest.raises(ConnectionError):
        taken([False] * 3, [ValueError("gone")] * 3)
    with pytest.raises(ConnectionError):
        taken([False] * 3, [None] * 3)  # a memcached client that swallows its errors


def test_an_error_of_the_cache_comes_out_as_it_is() -> None:
    with pytest.raises(OSError, match="away"):
        taken([], [OSError("away")])
