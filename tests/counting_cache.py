"""Local memory behind a wire: each call is a trip, and is written down.

Not a subclass of Django's local memory cache, so that it may stand for a shared one (check E006).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache


class CountingCache(BaseCache):
    """`calls` holds the names of the methods that were called, in order, of all instances."""

    calls: list[str] = []

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._memory = LocMemCache(location, params)

    def _trip(self, name: str) -> LocMemCache:
        self.calls.append(name)
        return self._memory

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._trip("add").add(key, value, timeout, version)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._trip("get").get(key, default, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._trip("set").set(key, value, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._trip("touch").touch(key, timeout, version)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._trip("delete").delete(key, version)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self._trip("incr").incr(key, delta, version)

    def decr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self._trip("decr").decr(key, delta, version)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return self._trip("get_many").get_many(keys, version)

    def set_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[Any]:
        return self._trip("set_many").set_many(data, timeout, version)

    def clear(self) -> None:
        self._memory.clear()
