"""Caches that break."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache


class AwayCache(BaseCache):
    """A server that does not answer."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("the cache is away")

    add = get = set = touch = delete = incr = decr = get_many = set_many = delete_many = has_key = _fail

    def clear(self) -> None:
        """Nothing was ever kept."""


class HalfCache(LocMemCache):
    """Reads work, writes of several keys report that they failed."""

    def set_many(self, data: Any, *args: Any, **kwargs: Any) -> list[str]:
        return list(data)
