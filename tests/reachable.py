"""Where the servers of the suite are, and whether they answer: for the fixtures and for scripts/run_tests.py."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

# What `scripts/services start` brings up. Another one: TEST_POSTGRES_URL=postgres://user:password@host:port, and so on.
DEFAULTS = {
    "postgres": "postgres://postgres@127.0.0.1:5432",
    "mariadb": "mysql://root@127.0.0.1:3306",
    "redis": "redis://127.0.0.1:6379",
    "amqp": "amqp://guest:guest@127.0.0.1:5672",
}
OWN_NETWORK = ("unshare", "--map-root-user", "--net")
"""Runs a command in a network of its own, which it may furnish: util-linux, and iproute2 to furnish it."""
LABELS = {"postgres": "PostgreSQL", "mariadb": "MariaDB", "redis": "Redis", "amqp": "RabbitMQ", "chromium": "Chromium"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def url_of(service: str) -> str:
    """The server's address without a path."""
    return (os.environ.get(f"TEST_{service.upper()}_URL") or DEFAULTS[service]).rstrip("/")


def why_not(service: str) -> str | None:
    """Why the service cannot be used, in words for a skip; None when it answers."""
    if service == "chromium":
        if browser() is None:
            return f"Chromium is not installed (looked for {', '.join(BROWSERS)}); `scripts/services start` installs it"
        return None
    if service == "netns":
        tools = shutil.which("unshare") and shutil.which("ip")
        if not tools or subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode:
            return "a network namespace cannot be made here; it needs `unshare`, `ip`, and user namespaces"
        return None
    parts = urlsplit(url_of(service))
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=2):
            return None
    except OSError:
        place = f"{parts.hostname}:{parts.port}"
        return f"{LABELS[service]} does not answer on {place}; `scripts/services start` starts it"


def browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)
