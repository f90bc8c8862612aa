"""Wait for something to become true, never longer than it may take; and find a port to wait at."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def until(is_so: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    """Return as soon as `is_so()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
