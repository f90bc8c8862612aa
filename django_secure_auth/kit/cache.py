"""Results that are remembered for a while, in bounded memory."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from cachetools import TTLCache
from cachetools.keys import typedkey

SWEEP_SECONDS = 60.0

_P = ParamSpec("_P")
_R_co = TypeVar("_R_co", covariant=True)
_logger = logging.getLogger("django_secure_auth.cache")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """`hits` and `misses` count calls, `errors` those that went past the cache; `size` is at most `maxsize`."""

    hits: int
    misses: int
    errors: int
    size: int
    maxsize: int


class CachedFunction(Protocol[_P, _R_co]):
    """A function with a memory."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...

    def __get__(self, instance: Any, owner: Any = None) -> Callable[..., _R_co]: ...

    def stats(self) -> CacheStats:
        """What the memory has done since the start of the process."""

    def clear(self) -> None:
        """Forget everything; results that are still being computed are not remembered either."""


def cached(
    ttl: float | timedelta = 300, maxsize: int = 1000, *, timer: Callable[[], float] = time.monotonic
) -> Callable[[Callable[_P, _R_co]], CachedFunction[_P, _R_co]]:
    """Remember what a function, sync or async, returns for its arguments: `ttl` seconds, the `maxsize` used last.

    Arguments are told apart by type too: `True` is not `1`. None is remembered, exceptions are not. An error of the
    memory itself, such as an argument without a hash, is logged, and the function is called. In a method `self` is an
    argument: it is kept alive. Raises TypeError and ValueError when the decoration makes no sense.
    """
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("Write @cached(), with a ttl in seconds or as a timedelta")
    if isinstance(maxsize, bool) or not isinstance(maxsize, int):
        raise TypeError("maxsize is a number of results")
    if not 0 < seconds < float("inf") or maxsize < 1:
        raise ValueError("ttl and maxsize are above 0, and bounded")

    def decorate(function: Callable[_P, _R_co]) -> CachedFunction[_P, _R_co]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator yields its values once; return a list")
        store = _Store(seconds, maxsize, timer)
        wrapper = (
            _async_wrapper(function, store) if inspect.iscoroutinefunction(function) else _wrapper(function, store)
        )
        functools.update_wrapper(wrapper, function)
        wrapper.stats, wrapper.clear = store.stats, store.clear
        return cast("CachedFunction[_P, _R_co]", wrapper)

    return decorate


def _wrapper(function: Callable[..., Any], store: _Store) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        key, found, epoch = store.look_up(args, kwargs)
        if found is _MISSING:
            found = function(*args, **kwargs)
            store.keep(key, found, epoch)
        return found

    return call


def _async_wrapper(function: Callable[..., Any], store: _Store) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        key, found, epoch = store.look_up(args, kwargs)
        if found is _MISSING:
            found = await function(*args, **kwargs)
            store.keep(key, found, epoch)
        return found

    return call


class _Store:
    def __init__(self, ttl: float, maxsize: int, timer: Callable[[], float]) -> None:
        self._ttl, self._maxsize, self._timer = ttl, maxsize, timer
        self._hits = self._misses = self._errors = 0
        self._epoch = 0
        self.begin_anew()
        _stores.add(self)

    def begin_anew(self) -> None:
        """Start empty, with a free lock: at a fork() another thread may hold it in the middle of a change."""
        self._lock = threading.RLock()  # again by the same thread, when an `__eq__` or `__del__` comes back to us
        self._results: TTLCache[Hashable, Any] = TTLCache(self._maxsize, self._ttl, timer=self._timer)

    def look_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Hashable, Any, int]:
        key: Hashable = None
        try:
            key = typedkey(*args, **kwargs)
            with self._lock:
                found = self._results.get(key, _MISSING)
                if found is _MISSING:
                    self._misses += 1
                else:
                    self._hits += 1
                return key, found, self._epoch
        except Exception as error:
            self._tell(error)
            return key, _MISSING, -1

    def keep(self, key: Hashable, result: Any, epoch: int) -> None:
        if epoch < 0:
            return
        try:
            with self._lock:
                if epoch == self._epoch:  # what began before clear() may be what clear() was called for
                    self._results[key] = result
            _start_sweeper()
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        with self._lock:
            self._errors += 1
        # No arguments in it: they may be secrets.
        _logger.warning("A cached function is called without its cache: %s", type(error).__name__)

    def sweep(self) -> None:
        try:
            with self._lock:
                self._results.expire()
        except Exception as error:
            self._tell(error)

    def clear(self) -> None:
        with self._lock:
            self._epoch += 1
            self._results.clear()

    def stats(self) -> CacheStats:
        with self._lock:
            return CacheStats(self._hits, self._misses, self._errors, len(self._results), self._maxsize)


# --- one thread for all: it keeps no cache alive, and ends with the process ------------------------------------------

_stores: weakref.WeakSet[_Store] = weakref.WeakSet()
_sweeper: threading.Thread | None = None
_sweeper_lock = threading.Lock()
_stopped = threading.Event()  # set by tests only


def _start_sweeper() -> None:
    global _sweeper  # noqa: PLW0603  # one thread per process is the point
    if _sweeper is not None:
        return
    with _sweeper_lock:
        if _sweeper is None:
            thread = threading.Thread(target=_sweep_for_ever, name="secure-auth-cache-sweep", daemon=True)
            thread.start()
            _sweeper = thread


def _sweep_for_ever() -> None:
    while not _stopped.wait(SWEEP_SECONDS):
        _sweep_all()


def _sweep_all() -> None:
    for store in list(_stores):
        store.sweep()


def _after_fork() -> None:
    global _sweeper, _sweeper_lock, _stopped  # a child has the memory of its parent, and none of its threads
    _sweeper, _sweeper_lock, _stopped = None, threading.Lock(), threading.Event()
    for store in list(_stores):
        store.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
