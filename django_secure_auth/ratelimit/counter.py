"""Counting in a cache, on django-ratelimit's windows and keys.

django-ratelimit decides *which* counter an attempt belongs to: its windows are offset per value, so that
not all limits of the world reset at the same second, and its keys name the window's end, so that a counter
which outlives its window blocks nobody. How that counter is moved is ours, since `get_usage` cannot give an
attempt back, reads its cache's alias from one global setting, and lets a cache's error out as a 500.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from django.core.cache import BaseCache
from django_ratelimit.core import EXPIRATION_FUDGE, _get_window, _make_cache_key

from django_secure_auth.kit.rate import Rate

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one window: where it lives, and its last second (Unix time)."""

    key: str
    rate: Rate
    ends_at: int

    @property
    def seconds_left(self) -> int:
        # The last second is part of the window: who came back in it would be refused again.
        return max(1, self.ends_at - int(time.time()) + 1)

    @property
    def lifetime(self) -> int:
        # Longer than the window: a counter never expires between the look and the increment of a backend
        # that needs two steps for it (Django's Redis backend), within the window that it counts.
        return self.rate.seconds + int(EXPIRATION_FUDGE)


def counter_for(name: str, parts: tuple[str, ...], rate: Rate) -> Counter:
    """Return the counter of limit `name` for these parts, in the window of now.

    Parts are hashed one by one: joined plainly, `bob` + `10.0.0.1` and `bob1` + `0.0.0.1` would share a
    counter, and a name of any length or alphabet would reach the cache (ASVS 1.3.9).
    """
    value = "".join(hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest() for part in parts)
    window = _get_window(value, rate.seconds)
    key = _make_cache_key(f"secure_auth:{name}", window, (rate.limit, rate.seconds), value, None)
    return Counter(str(key), rate, int(window))


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
            return count
        if cache.add(counter.key, 1, counter.lifetime):
            return 1
    raise ConnectionError("The rate-limit cache does not keep its counters.")


def put_back(cache: BaseCache, counter: Counter) -> None:
    """Give one attempt back. A counter that has expired meanwhile has nothing to give back to."""
    try:
        cache.decr(counter.key)
    except ValueError:
        return
