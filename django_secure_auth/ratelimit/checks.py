"""What a project gets wrong with limits: a counter that a rollback takes back, a limit that is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage
from django.db import connections

from django_secure_auth.conf import conf
from django_secure_auth.findings import error, warning
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.backends import VENDORS, AtomicDatabaseCache

_GUARDED = ("login_account", "login_device", "login_address", "login_password", "otp")
_GUESSES_AN_HOUR = 400
_SQLITE_RETURNS = (3, 35)


def _table() -> AtomicDatabaseCache | None:
    if conf.RATE_LIMIT_CACHE not in django_settings.CACHES:
        return None  # E005 says so
    cache = caches[conf.RATE_LIMIT_CACHE]
    return cache if isinstance(cache, AtomicDatabaseCache) else None


def find_dangerous_limits() -> Iterable[CheckMessage]:
    """E095, E096, W095: limits that are counted in a table."""
    cache = _table()
    if cache is None:
        return
    alias = cache.alias()
    if alias not in connections.settings:
        yield error(
            95,
            f"The rate-limit cache names the database {alias!r}, which DATABASES does not have: every sign-in is 503.",
            "Add it to DATABASES, or name another in OPTIONS['DATABASE'].",
        )
        return
    yield from _find_database_that_cannot_count(alias)
    if connections.settings[alias]["ATOMIC_REQUESTS"]:
        yield warning(
            95,
            f"Limits are counted on the connection {alias!r}, whose ATOMIC_REQUESTS is on: the count of a request that "
            "fails is rolled back with it, and until it ends all that share its counter wait.",
            "Give the cache a connection of its own: a second entry of DATABASES without ATOMIC_REQUESTS, which "
            "OPTIONS['DATABASE'] names.",
        )


def _find_database_that_cannot_count(alias: str) -> Iterable[CheckMessage]:
    connection = connections[alias]
    if connection.vendor not in VENDORS:
        yield error(
            96,
            f"AtomicDatabaseCache does not know how to count on {connection.vendor}.",
            "Name a cache whose increments are atomic, such as Redis.",
        )
    elif connection.vendor == "sqlite":
        if sqlite3.sqlite_version_info < _SQLITE_RETURNS:
            yield error(
                96,
                f"AtomicDatabaseCache needs SQLite 3.35 or newer; this one is {sqlite3.sqlite_version}.",
                "Name a cache whose increments are atomic, such as Redis.",
            )
        others = [other for other in connections.settings if other != alias]
        if any(_is_same_file(alias, other) and connections.settings[other]["ATOMIC_REQUESTS"] for other in others):
            yield error(
                96,
                "Limits are counted in the file of a database with ATOMIC_REQUESTS. SQLite has one writer: a view that "
                "has written waits for itself until the count fails.",
                f"Give the database {alias!r} a file of its own.",
            )


def _is_same_file(alias: str, other: str) -> bool:
    one, two = connections.settings[alias], connections.settings[other]
    return (one["ENGINE"], str(one["NAME"])) == (two["ENGINE"], str(two["NAME"]))


def find_dangerous_policies() -> Iterable[CheckMessage]:
    """W096 and W097, with `--deploy`: limits that let guessers through."""
    open_ones = [name for name in _GUARDED if conf.RATE_LIMIT_WHEN_AWAY[name] == "open"]
    if open_ones:
        yield warning(
            96,
            f"While the rate-limit cache is away, {', '.join(open_ones)} let everybody guess without limit.",
            "Leave them 'closed' in RATE_LIMIT_WHEN_AWAY: whoever can overload the cache would get to choose.",
        )
    for name in ("login_account", "login_device", "otp"):
        guesses = min(rate.limit * 3600 / rate.seconds for rate in Rate.parse_several(conf.RATE_LIMITS[name]))
        if guesses > _GUESSES_AN_HOUR:
            yield warning(
                97,
                f"RATE_LIMITS[{name!r}] lets {guesses:.0f} guesses an hour at one account pass.",
                f"At most {_GUESSES_AN_HOUR} an hour; the default lets {_default(name):.0f} pass.",
            )


def _default(name: str) -> float:
    rate = Rate.parse(type(conf).RATE_LIMITS.default[name])
    return rate.limit * 3600 / rate.seconds
