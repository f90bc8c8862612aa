"""Reserve an attempt before it is judged; give it back when it was right."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import itemgetter
from typing import Any

from django.core.cache import BaseCache, caches

from django_secure_auth.audit import events
from django_secure_auth.audit.events import Event
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import RateLimited, StateUnavailable, rate_limit_headers
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.counter import Counter, count_before, counter_for, digest_of, put_back, take
from django_secure_auth.request_scope import AnyRequest, plain_request

logger = logging.getLogger("django_secure_auth")


@dataclass(frozen=True, slots=True)
class Reservation:
    """One counted attempt of one limit, in each of its windows."""

    limit: str
    counters: tuple[Counter, ...]
    member: str = ""
    """Of a limit that counts distinct members: the entry which says that this one has been counted."""


class LimitReached(RateLimited):
    """429 with its headers; `limit` names the limit."""

    def __init__(self, limit: str, rate: Rate, *, wait: int) -> None:
        super().__init__(headers=rate_limit_headers(limit, quota=rate.limit, window=rate.seconds, wait=wait))
        self.limit = limit


def _cache() -> BaseCache:
    return caches[conf.RATE_LIMIT_CACHE]


def reserve(limit: str, *parts: str, request: AnyRequest | None = None) -> Reservation | None:
    """Count one attempt against `RATE_LIMITS[limit]` for `parts`, as `reserve_at` does."""
    return reserve_at(Rate.parse_several(conf.RATE_LIMITS[limit]), limit, *parts, request=request)


def reserve_at(
    rates: Sequence[Rate],
    limit: str,
    *parts: str,
    request: AnyRequest | None = None,
    fail_open: bool | None = None,
    event: Event = events.RATE_LIMIT,
    user: Any = None,
    **details: Any,
) -> Reservation | None:
    """Count one attempt against rates for `parts`; exactly that many pass in a window, which slides.

    Counted first, judged then: of a hundred parallel attempts at a limit of ten, ten get a number up to
    ten. An attempt over the limit is taken back at once, from all windows, so that hammering neither prolongs a block
    nor swallows what a success gives back.

    `limit` names the counters and the headers. The first refusal of a window is written to the trail, with `user` and
    `details`. Raises LimitReached of the window that lasts longest, and StateUnavailable when the cache is away; with
    `fail_open`, or where RATE_LIMIT_WHEN_AWAY opens the limit, None is returned then.
    """
    try:
        cache = _cache()
        counters, waits = _take_each(cache, limit, parts, rates)
        if not any(waits):
            return Reservation(limit, counters)
        wait, reached = max(zip(waits, counters, strict=True), key=itemgetter(0))
        is_first = cache.add(f"{reached.key}:told", 1, reached.lifetime)
    except Exception as error:  # each backend has its own: redis, pymemcache, a database's
        _tell_away(limit, error, is_open=_is_open(limit, fail_open), request=request)
        return None
    if is_first:
        endpoint = plain_request(request).path if request is not None else ""
        record(event, request=request, user=user, endpoint=endpoint, limit=limit, **details)
    raise LimitReached(limit, reached.rate, wait=wait)


_EDGES = 3


def _take_each(
    cache: BaseCache, limit: str, parts: tuple[str, ...], rates: Sequence[Rate]
) -> tuple[tuple[Counter, ...], list[int]]:
    """Count one attempt in the window of each rate, and return for each how long it has to wait.

    What one window refuses is counted in none, and does not touch those after it for a moment: who has room there must
    find it. An attempt that met the edge of a window under way is counted anew, in the next: whoever has looked at the
    window before knows all that passed in it, and no burst around the edge slips between the two.
    """
    for _ in range(_EDGES):
        counters = tuple(counter_for(limit, parts, rate) for rate in rates)
        now = time.time()
        waits: list[int] = []
        for counter in counters:
            waits.append((_wait_now if any(waits) else _take)(cache, counter, now))
        is_edge = time.time() >= min(counter.over_at for counter in counters)
        if is_edge or any(waits):
            for counter, _ in takewhile(lambda one: not one[1], zip(counters, waits, strict=True)):
                put_back(cache, counter)
        if not is_edge:
            return counters, waits
    raise ConnectionError("The rate-limit cache takes longer than a window lasts.")


def _take(cache: BaseCache, counter: Counter, now: float) -> int:
    """Count one attempt and return 0, or the seconds to wait, when there is no room for it and it is not counted."""
    count = take(cache, counter)
    before = count_before(cache, counter, now=now)
    if counter.has_room(count, before, now=now):
        return 0
    put_back(cache, counter)
    return counter.wait(count - 1, before, now=now)


def _wait_now(cache: BaseCache, counter: Counter, now: float) -> int:
    """Return what `_take` would, and count nothing."""
    found = cache.get(counter.key)
    count = found if isinstance(found, int) else 0
    before = count_before(cache, counter, now=now)
    return 0 if counter.has_room(count + 1, before, now=now) else counter.wait(count, before, now=now)


def watch(limit: str, *parts: str, request: AnyRequest, description: str) -> tuple[Reservation | None, bool]:
    """Count one attempt against a limit that refuses nobody, and return whether it is over it.

    The first over it in a window is told as suspicious. Raises StateUnavailable when the cache is away.
    """
    rates = Rate.parse_several(conf.RATE_LIMITS[limit])
    try:
        taken = reserve_at(rates, limit, *parts, request=request, event=events.SUSPICIOUS, description=description)
    except LimitReached:
        return None, True
    return taken, False


def reserve_member(limit: str, *parts: str, member: str, request: AnyRequest, description: str) -> Reservation | None:
    """Count `member` against `RATE_LIMITS[limit]` for `parts`, unless `keep` has said that it is counted already.

    So a limit is one of distinct members. One that is under way several times at once counts as often. The first
    refusal of a window is told as suspicious. Raises LimitReached, and StateUnavailable when the cache is away.
    """
    rates = Rate.parse_several(conf.RATE_LIMITS[limit])
    name = f"secure_auth:{limit}:{digest_of(*parts, member)}"
    try:
        if _cache().get(name) is not None:
            return None
    except Exception as error:
        _tell_away(limit, error, is_open=_is_open(limit, None), request=request)
        return None
    taken = reserve_at(rates, limit, *parts, request=request, event=events.SUSPICIOUS, description=description)
    return taken and replace(taken, member=name)


def keep(reservation: Reservation | None) -> None:
    """Remember that the member of a reservation is counted, for the longest of its windows. Never raises."""
    if reservation is not None:
        try:
            _cache().set(reservation.member, 1, reservation.counters[-1].rate.seconds)
        except Exception as error:  # counted twice, then
            logger.warning("A rate-limit member could not be remembered: %s", type(error).__name__)


def give_back(*reservations: Reservation | None) -> None:
    """Give attempts back after a success: each its own one, nobody else's. Never raises."""
    for reservation in reservations:
        for counter in reservation.counters if reservation is not None else ():
            try:
                put_back(_cache(), counter)
            except Exception as error:
                logger.warning("A rate-limit counter could not be given back: %s", type(error).__name__)


# --- while the cache is away -------------------------------------------------------------------------

_TELL_EVERY = 60.0
_last_outage = float("-inf")
_outage_lock = threading.Lock()


def _is_open(limit: str, fail_open: bool | None) -> bool:
    return conf.RATE_LIMIT_WHEN_AWAY[limit] == "open" if fail_open is None else fail_open


def _tell_away(limit: str, error: Exception, *, is_open: bool, request: AnyRequest | None) -> None:
    """Log each, and write one event a minute in each process. Raises StateUnavailable unless the limit is open."""
    global _last_outage  # noqa: PLW0603  # one for the process: what would be shared is what is away
    logger.error("The rate-limit cache is away (%s); limit %s cannot count.", type(error).__name__, limit)
    with _outage_lock:
        is_news = time.monotonic() - _last_outage >= _TELL_EVERY
        if is_news:
            _last_outage = time.monotonic()
    if is_news:
        policy = "open" if is_open else "closed"
        record(events.RATE_LIMIT_AWAY, request=request, limit=limit, policy=policy, error=type(error).__name__)
    if not is_open:
        raise StateUnavailable from error
