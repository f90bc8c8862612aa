"""Results are remembered for a while, in bounded memory, and the memory never breaks the function."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from django_secure_auth.kit import cache
from django_secure_auth.kit.cache import cached


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_result_is_computed_once_until_it_expires() -> None:
    timer, calls = Timer(), []

    @cached(ttl=timedelta(seconds=10), timer=timer)
    def double(n: int) -> int:
        """Doc."""
        calls.append(n)
        return 2 * n

    assert (double(2), double(2), double.__doc__) == (4, 4, "Doc.")
    timer.now = 9.9
    assert double(2) == 4
    assert calls == [2]
    timer.now = 10.1
    assert double(2) == 4
    assert calls == [2, 2]
    assert (double.stats().hits, double.stats().misses) == (2, 2)


def test_the_least_recently_used_goes_first() -> None:
    calls: list[int] = []

    @cached(maxsize=2)
    def same(n: int) -> int:
        calls.append(n)
        return n

    for n in (1, 2, 1, 3, 1, 2):
        same(n)
    assert calls == [1, 2, 3, 2]
    assert same.stats().size == same.stats().maxsize == 2


def test_true_is_not_one_and_none_is_a_result() -> None:
    calls: list[Any] = []

    @cached()
    def nothing(value: Any) -> None:
        calls.append(value)

    for value in (1, True, 1.0, 1, True):
        nothing(value)
    assert calls == [1, True, 1.0]


def test_exceptions_are_not_remembered() -> None:
    calls: list[int] = []

    @cached()
    def fail() -> None:
        calls.append(1)
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()
    assert len(calls) == 2


def test_a_coroutine_function_stays_one() -> None:
    calls: list[int] = []

    @cached()
    async def double(n: int) -> int:
        calls.append(n)
        await asyncio.sleep(0)
        return 2 * n

    async def main() -> list[int]:
        return [await double(2), await double(2)]

    assert asyncio.run(main()) == [4, 4]
    assert calls == [2]


class Hostile:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("secret")


def test_an_error_of_the_cache_is_logged_and_the_function_called(caplog: pytest.LogCaptureFixture) -> None:
    @cached()
    def same(value: Any) -> Any:
        return value

    assert same(["secret"]) == ["secret"]
    one, two = Hostile(), Hostile()
    assert same(one) is one
    assert same(two) is two
    assert same.stats().errors == 2
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text


def test_an_error_while_keeping_or_sweeping_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @cached()
    def same(value: Any) -> Any:
        return value

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(cache, "_start_sweeper", no_thread)
        assert same(1) == 1
    timer_broken = cached(timer=Timer())(same)
    assert timer_broken(2) == 2
    store = timer_broken.clear.__self__  # type: ignore[attr-defined]  # the store behind it
    monkeypatch.setattr(store, "_results", None)
    store.sweep()
    assert len(caplog.records) == 2


def test_what_began_before_clear_is_not_kept_after_it() -> None:
    calls: list[int] = []

    @cached()
    def now() -> int:
        calls.append(1)
        if len(calls) == 1:
            now.clear()  # the world changes in the middle
        return len(calls)

    assert [now(), now(), now()] == [1, 2, 2]
    now.clear()
    assert now.stats().size == 0


def test_a_method_is_cached_by_its_object() -> None:
    class Thing:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @cached()
        def times(self, n: int) -> int:
            return self.factor * n

    assert (Thing(2).times(3), Thing(3).times(3)) == (6, 9)


@pytest.mark.parametrize("wrong", [{"ttl": 0}, {"ttl": -1}, {"ttl": float("inf")}, {"maxsize": 0}])
def test_a_cache_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        cached(**wrong)


@pytest.mark.parametrize("wrong", [{"ttl": len}, {"ttl": True}, {"maxsize": 1.5}, {"maxsize": True}])
def test_decoration_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        cached(**wrong)


def test_a_generator_is_refused() -> None:
    def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        cached()(numbers)


@pytest.mark.control("ASVS-15.4.1")
def test_thirty_two_threads_find_no_broken_cache() -> None:
    @cached(ttl=0.001, maxsize=20)
    def double(n: int) -> int:
        return 2 * n

    barrier = threading.Barrier(32)

    def work(seed: int) -> bool:
        barrier.wait()
        return all(double((seed * i) % 50) == 2 * ((seed * i) % 50) for i in range(500))

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(32)))
    stats = double.stats()
    assert (stats.hits + stats.misses, stats.errors) == (16000, 0)
    assert stats.size <= 20


def test_the_sweep_drops_what_expired_and_keeps_no_cache_alive() -> None:
    timer = Timer()

    class Big:
        pass

    @cached(ttl=1, timer=timer)
    def make(n: int) -> Big:
        return Big()

    result = weakref.ref(make(1))
    timer.now = 2
    cache._sweep_all()
    gc.collect()
    assert result() is None
    store = weakref.ref(make.clear.__self__)  # type: ignore[attr-defined]  # the store behind it
    del make
    gc.collect()
    assert store() is None


def test_one_thread_sweeps_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = threading.Event()
    stop = threading.Event()

    monkeypatch.setattr(cache, "SWEEP_SECONDS", 0.001)
    monkeypatch.setattr(cache, "_sweep_all", swept.set)
    monkeypatch.setattr(cache, "_stopped", stop)
    monkeypatch.setattr(cache, "_sweeper", None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache._start_sweeper(), range(8)))
    assert swept.wait(10)
    thread = cache._sweeper
    assert thread is not None
    assert thread.daemon
    stop.set()
    thread.join(10)


def test_a_child_of_fork_begins_empty_with_a_free_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    @cached()
    def same(n: int) -> int:
        return n

    same(1)
    store: Any = same.clear.__self__  # type: ignore[attr-defined]  # the store behind it
    holder = threading.Thread(target=store._lock.acquire)
    holder.start()
    holder.join()
    monkeypatch.setattr(cache, "_sweeper", cache._sweeper)
    monkeypatch.setattr(cache, "_sweeper_lock", cache._sweeper_lock)
    monkeypatch.setattr(cache, "_stopped", cache._stopped)
    cache._after_fork()
    assert same.stats().size == 0
    assert cache._sweeper is None


FORK = """
import os, threading
from django_secure_auth.kit import cache
@cache.cached()
def same(n): return n
same(1)
parent = cache._sweeper
pid = os.fork()
if pid == 0:
    same(1); same(1)
    ok = same.stats().size == 1 and cache._sweeper is not parent and cache._sweeper.is_alive()
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_it_survives_fork_and_ends_with_the_process() -> None:
    started = time.monotonic()
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=30)
    assert time.monotonic() - started < 20  # a thread that is joined would sleep for a minute


def test_who_waited_for_the_start_of_the_sweep_starts_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_sweeper", None)
    first = threading.Thread()
    with cache._sweeper_lock:
        waiting = threading.Thread(target=cache._start_sweeper)
        waiting.start()
        time.sleep(0.1)  # until it stands before the lock
        monkeypatch.setattr(cache, "_sweeper", first)
    waiting.join(10)
    assert cache._sweeper is first
