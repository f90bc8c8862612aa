"""Counts queries and cache trips of what runs inside. Never on while time is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import caches
from django.db import connection

_QUERIES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})
_CACHE_CALLS = (
    "add",
    "get",
    "set",
    "touch",
    "delete",
    "get_many",
    "set_many",
    "delete_many",
    "has_key",
    "incr",
    "decr",
)


@dataclass
class Tally:
    queries: int = 0
    trips: int = 0
    statements: list[str] = field(default_factory=list)


@contextmanager
def counted() -> Iterator[Tally]:
    """Queries are statements that read or write rows; trips are commands to Redis, or calls of local memory."""
    tally = Tally()

    def query(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        tally.queries += str(sql).lstrip("( ").split(None, 1)[0].upper() in _QUERIES
        tally.statements.append(str(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(query), _trips(tally):
        yield tally


@contextmanager
def _trips(tally: Tally) -> Iterator[None]:
    backend = type(caches["default"])
    if backend.__name__ == "RedisCache":
        import redis  # noqa: PLC0415  # SQLite and local memory do without

        places: list[tuple[type, str]] = [(redis.Redis, "execute_command"), (redis.client.Pipeline, "execute")]
    else:
        places = [(backend, name) for name in _CACHE_CALLS]
    depth = 0

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            tally.trips += depth == 0  # get_many is made of get, and is one trip
            depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                depth -= 1

        return call

    kept = [(owner, name, vars(owner).get(name), getattr(owner, name)) for owner, name in places]
    for owner, name, _, original in kept:
        setattr(owner, name, counting(original))
    try:
        yield
    finally:
        for owner, name, own, _ in kept:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
