"""Run in a network of its own (`unshare --net`), where every address inside answers; prints what was reached as JSON.

The addresses of `tests.kit.inside` are this machine's there, and so is the public one; a server counts who connects,
on both ports. First each URL is fetched by `safe_get` and `safe_aget`; then by an HTTP library that does not look,
which shows that the network would have answered.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from itertools import product
from typing import Any

import httpx

from django_secure_auth.kit.safe_fetch import UnsafeURL, safe_aget, safe_get
from tests.kit.inside import ALL, FORMS, INSIDE, OTHERS, PUBLIC, names

PORTS = (80, 443)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\na page"


def addresses() -> Iterator[str]:
    """Every address that a form means, as far as an interface can have it: no multicast, no broadcast."""
    yield from (PUBLIC, *INSIDE)
    for form, address in ALL:
        host = FORMS[form](address)
        if host.startswith("["):
            yield host[1:-1].partition("%")[0]
    yield from (url.partition("[")[2].partition("]")[0] for urls in OTHERS.values() for url in urls if "://[" in url)


def take_addresses() -> int:
    """Make them this machine's, and return how many it took."""
    taken = 0
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for text in dict.fromkeys(addresses()):
        try:
            address = ip_address(text)
        except ValueError:
            continue
        add = ["ip", "address", "add", f"{address}/{address.max_prefixlen}", "dev", "lo"]
        taken += subprocess.run(add, capture_output=True, check=False).returncode == 0
    return taken


class Counter:
    """Takes every connection on both ports, of IPv4 and IPv6, answers it and counts."""

    def __init__(self) -> None:
        self.count = 0
        self._selector = selectors.DefaultSelector()
        for family, port in product((socket.AF_INET, socket.AF_INET6), PORTS):
            listening = socket.socket(family)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(("" if family == socket.AF_INET else "::", port))
            listening.listen(128)
            self._selector.register(listening, selectors.EVENT_READ)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]  # a socket
                self.count += 1
                with suppress(OSError):
                    connection.settimeout(0.2)
                    connection.recv(4096)
                    connection.sendall(ANSWER)
                connection.close()

    def during(self, work: Callable[[], object]) -> int:
        before = self.count
        work()
        return self.count - before


def urls() -> list[str]:
    hosts = [FORMS[form](address) for form, address in ALL]
    return [f"{scheme}://{host}/x" for scheme in ("http", "https") for host in hosts] + [
        url for found in OTHERS.values() for url in found
    ]


def refused(fetch: Callable[[str], object]) -> int:
    count = 0
    for url in urls():
        try:
            fetch(url)
        except UnsafeURL:
            count += 1
    return count


def main() -> None:
    tls = ssl.create_default_context()
    how: dict[str, Any] = {"resolver": names, "ssl_context": tls, "timeout": 2.0}
    said: dict[str, Any] = {"addresses": take_addresses(), "urls": len(urls())}
    server = Counter()

    async def later() -> None:
        for url in urls():
            try:
                await safe_aget(url, **how)
            except UnsafeURL:
                said["refused later"] = said.get("refused later", 0) + 1

    def at_once() -> None:
        said["refused"] = refused(lambda url: safe_get(url, **how))

    said["connected"] = server.during(at_once)
    said["connected later"] = server.during(lambda: asyncio.run(later()))
    said["allowed"] = server.during(lambda: safe_get("http://example.com/", **how))
    said["allowed later"] = server.during(lambda: asyncio.run(safe_aget("http://example.com/", **how)))
    said["allowed by its address"] = server.during(lambda: safe_get(f"http://{PUBLIC}/", **how))

    def without_looking() -> None:
        with httpx.Client(timeout=1.0, trust_env=False) as client:
            for url in urls():
                with suppress(Exception):  # whatever it makes of such a URL
                    client.get(url)

    said["by a library that does not look"] = server.during(without_looking)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
