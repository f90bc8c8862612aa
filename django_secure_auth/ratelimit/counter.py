"""Counting in a cache, on django-ratelimit's windows and keys, with a window that slides.

django-ratelimit decides *which* counter an attempt belongs to: its windows are offset per value, so that
not all limits of the world reset at the same second, and its keys name the window's end, so that a counter
which outlives its window blocks nobody. How that counter is moved is ours, since `get_usage` cannot give an
attempt back, reads its cache's alias from one global setting, and lets a cache's error out as a 500.

Its windows are fixed: at their edge twice a limit would pass at once. So the window before counts too, by the share
of it that the last `rate.seconds` seconds still reach into (a sliding window counter).
"""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass

from cachetools import LRUCache
from django.core.cache import BaseCache
from django_ratelimit.core import EXPIRATION_FUDGE, _get_window, _make_cache_key

from django_secure_auth.kit.rate import Rate

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one window: where it and the one before live, and when the window is over (Unix time)."""

    key: str
    key_before: str
    rate: Rate
    over_at: int

    @property
    def lifetime(self) -> int:
        # Two windows, since it is the one before in the next; and longer: a counter never expires between the look and
        # the increment of a backend that needs two steps for it (Django's Redis backend), while it counts.
        return 2 * self.rate.seconds + int(EXPIRATION_FUDGE)

    def has_room(self, count: int, before: int, *, now: float) -> bool:
        """Whether the attempt that is number `count` in this window passes, with `before` in the one before."""
        reach = max(0.0, self.over_at - now)
        return (self.rate.limit - count) * self.rate.seconds >= before * reach

    def wait(self, count: int, before: int, *, now: float) -> int:
        """Return the seconds after which an attempt would pass, when `count` have passed in this window."""
        limit, seconds = self.rate.limit, self.rate.seconds
        left = self.over_at - now
        if count < limit:  # the window before has to slide out of reach
            return max(1, math.ceil(left - (limit - count - 1) * seconds / max(before, 1)))
        return max(1, math.ceil(left + seconds - (limit - 1) * seconds / limit))  # and then this one


def counter_for(name: str, parts: tuple[str, ...], rate: Rate) -> Counter:
    """Return the counter of limit `name` for these parts, in the window of now.

    Parts are hashed one by one: joined plainly, `bob` + `10.0.0.1` and `bob1` + `0.0.0.1` would share a
    counter, and a name of any length or alphabet would reach the cache (ASVS 1.3.9).
    """
    value = "".join(map(_digest, parts))
    last_second = _get_window(value, rate.seconds)
    key, key_before = (
        str(_make_cache_key(f"secure_auth:{name}", window, (rate.limit, rate.seconds), value, None))
        for window in (last_second, last_second - rate.seconds)
    )
    return Counter(key, key_before, rate, int(last_second) + 1)


def _digest(part: str) -> str:
    return hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of(*parts: str) -> str:
    """Return a short name of these parts, in this order, that no others share."""
    return _digest("".join(map(_digest, parts)))


def take(cache: BaseCache, counter: Counter) -> int:
    """Count one attempt and return how many there are now, in one atomic call of the cache.

    Raises whatever the cache raises when it is away, and ConnectionError when it lost what it was told.
    """
    for _ in range(_TRIES):
        # The increment first: but for the first attempt of a window it is the only call.
        try:
            count = cache.incr(counter.key)
        except ValueError:
            count = None  # nobody has counted yet, or it was evicted
        if isinstance(count, int):
            if count <= 1:
                # All was given back, or it was evicted between the look and the increment: then it would stay for ever.
                cache.touch(counter.key, counter.lifetime)
            return count
        if cache.add(counter.key, 1, counter.lifetime):
            return 1
    raise ConnectionError("The rate-limit cache does not keep its counters.")


# A window that is over does not grow any more: one look in each process is enough. What is given back late is not seen.
# But not in the first seconds: who came just before the edge may be counted just after it, by another process.
_over: LRUCache[str, int] = LRUCache(maxsize=10_000)
_over_lock = threading.Lock()


def count_before(cache: BaseCache, counter: Counter, *, now: float) -> int:
    """Return how many attempts passed in the window before. Raises whatever the cache raises when it is away."""
    with _over_lock:
        known = _over.get(counter.key_before)
    if known is None:
        found = cache.get(counter.key_before)
        known = found if isinstance(found, int) else 0
        if now >= counter.over_at - counter.rate.seconds + EXPIRATION_FUDGE:
            with _over_lock:
                _over[counter.key_before] = known
    return known


def put_back(cache: BaseCache, counter: Counter) -> None:
    """Give one attempt back. A counter that has expired meanwhile has nothing to give back to."""
    try:
        cache.decr(counter.key)
    except ValueError:
        return
