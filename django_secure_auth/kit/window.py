"""How often something has happened lately, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K", bound=Hashable)


class Window(Generic[K]):
    """Counts by key, of one process and of the `maxsize` keys used last; a window begins with the first of its events.

    It does not grow with them: whoever goes on and on is let in once a window, not never again.
    """

    def __init__(self, seconds: float, *, maxsize: int = 4096, timer: Callable[[], float] = time.monotonic) -> None:
        self._counts: TTLCache[K, list[int]] = TTLCache(maxsize, seconds, timer=timer)
        self._lock = threading.Lock()

    def count(self, key: K) -> int:
        """Count one event, and return how many there were in its window, this one included."""
        with self._lock:
            count = self._counts.get(key)
            if count is None:
                count = self._counts[key] = [0]  # set once: each setting would begin its time anew
            count[0] += 1
            return count[0]

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
