"""A small HTTP client that asks as fast as it is answered: `python -m benchmarks.load`. Standard library only.

It shares the machine's cores with the servers, as every client on one machine does; so shares of plain are what counts.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time


class _Caller(threading.Thread):
    def __init__(self, port: int, request: bytes, until: float) -> None:
        super().__init__(daemon=True)
        self.port, self.request, self.until = port, request, until
        self.served = self.refused = 0

    def run(self) -> None:
        while time.perf_counter() < self.until:
            if self._ask():
                self.served += 1
            else:
                self.refused += 1

    def _ask(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
                link.sendall(self.request)
                head = link.recv(65536)
                while link.recv(65536):  # the server closes: gunicorn's default worker keeps no connection
                    pass
        except OSError:
            return False
        return head.startswith(b"HTTP/1.1 200")


def load(*, port: int, headers: dict[str, str], seconds: float, callers: int) -> dict[str, float]:
    """Return how many requests were answered with 200, how many were not, and how long it took."""
    lines = ["GET /whoami/ HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: application/json", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    start = time.perf_counter()
    threads = [_Caller(port, request, start + seconds) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "served": sum(thread.served for thread in threads),
        "refused": sum(thread.refused for thread in threads),
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    print(json.dumps(load(**json.load(sys.stdin))))
