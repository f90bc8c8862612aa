"""Reserve an attempt before it is judged; give it back when it was right."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from django.core.cache import BaseCache, caches

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import RateLimited, StateUnavailable, rate_limit_headers
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.counter import Counter, count_before, counter_for, put_back, take
from django_secure_auth.request_scope import AnyRequest, plain_request

logger = logging.getLogger("django_secure_auth")


@dataclass(frozen=True, slots=True)
class Reservation:
    """One counted attempt of one limit."""

    limit: str
    counter: Counter


class LimitReached(RateLimited):
    """429 with its headers; `limit` names the limit."""

    def __init__(self, limit: str, rate: Rate, *, wait: int) -> None:
        super().__init__(headers=rate_limit_headers(limit, quota=rate.limit, window=rate.seconds, wait=wait))
        self.limit = limit


def _cache() -> BaseCache:
    return caches[conf.RATE_LIMIT_CACHE]


def reserve(limit: str, *parts: str, request: AnyRequest | None = None, fail_open: bool = False) -> Reservation | None:
    """Count one attempt against `RATE_LIMITS[limit]` for `parts`, as `reserve_at` does."""
    return reserve_at(Rate.parse(conf.RATE_LIMITS[limit]), limit, *parts, request=request, fail_open=fail_open)


def reserve_at(
    rate: Rate,
    limit: str,
    *parts: str,
    request: AnyRequest | None = None,
    fail_open: bool = False,
    user: Any = None,
    **details: Any,
) -> Reservation | None:
    """Count one attempt against a rate for `parts`; exactly that many pass in a window, which slides.

    Counted first, judged then: of a hundred parallel attempts at a limit of ten, ten get a number up to
    ten. An attempt over the limit is taken back at once, so that hammering neither prolongs a block nor
    swallows what a success gives back.

    `limit` names the counters and the headers. The first refusal of a window is written to the trail, with `user` and
    `details`. Raises LimitReached, and StateUnavailable when the cache is away (with `fail_open`, None is returned).
    """
    counter = counter_for(limit, parts, rate)
    now = time.time()
    try:
        cache = _cache()
        count = take(cache, counter)
        before = count_before(cache, counter)
        if counter.has_room(count, before, now=now):
            return Reservation(limit, counter)
        put_back(cache, counter)
        is_first = cache.add(f"{counter.key}:told", 1, counter.lifetime)
    except Exception as error:  # each backend has its own: redis, pymemcache, a database's
        logger.error("The rate-limit cache is away (%s); limit %s cannot count.", type(error).__name__, limit)
        if fail_open:
            return None
        raise StateUnavailable from error
    if is_first:
        endpoint = plain_request(request).path if request is not None else ""
        record(events.RATE_LIMIT, request=request, user=user, endpoint=endpoint, limit=limit, **details)
    raise LimitReached(limit, counter.rate, wait=counter.wait(count - 1, before, now=now))


def give_back(*reservations: Reservation | None) -> None:
    """Give attempts back after a success: each its own one, nobody else's. Never raises."""
    for reservation in reservations:
        if reservation is not None:
            try:
                put_back(_cache(), reservation.counter)
            except Exception as error:
                logger.warning("A rate-limit counter could not be given back: %s", type(error).__name__)
