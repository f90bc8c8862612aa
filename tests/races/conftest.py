"""A threaded server in this process, on the database of this process, for every test of the folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application
from django.db import connection

from django_secure_auth.conf import DEFAULT_NOTICES
from tests.browser import PASSWORD as PASSWORD
from tests.browser import make_user
from tests.races.browser import Browser, let_go

# A race that is run once proves little. Each request has a new connection, which the pure Python driver of MariaDB
# takes a hundred times as long for: fewer rounds there.
ROUNDS = 2 if connection.vendor == "mysql" else 5

# One address sends everything here; what limits an address is not what these tests are about.
LIMITS = ("login_address", "login_account", "login_password", "login_site", "otp", "refresh")
WIDE = dict.fromkeys(LIMITS, "100000/15m")
# Nor notices: mails are counted here, and links.
SILENT = {**dict.fromkeys(DEFAULT_NOTICES, False), "refresh_reused": True}  # a theft is told once, and counted

Configure = Callable[..., None]


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadedWSGIServer):
    """Django's own, with a queue for 64 callers at once, and one that waits for its threads at the end."""

    request_queue_size = 256
    daemon_threads = False
    block_on_close = True

    def _close_connections(self) -> None:
        let_go()


@pytest.fixture(autouse=True)
def _real_commits(transactional_db: None) -> None:
    """Threads see each other's work only when it is committed."""


@pytest.fixture(autouse=True)
def configure(settings: Any) -> Configure:
    """Change settings of the package; the limits are wide unless a test names one."""

    def change(**values: Any) -> None:
        limits = {**settings.DJANGO_SECURE_AUTH.get("RATE_LIMITS", WIDE), **values.pop("RATE_LIMITS", {})}
        settings.DJANGO_SECURE_AUTH = {
            **settings.DJANGO_SECURE_AUTH, "NOTICES": SILENT, **values, "RATE_LIMITS": limits,
        }  # fmt: skip

    change()
    return change


@pytest.fixture
def address(_real_commits: None) -> Iterator[tuple[str, int]]:
    server = Server(("127.0.0.1", 0), QuietHandler)
    server.set_app(get_internal_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def browser(address: tuple[str, int]) -> Callable[[], Browser]:
    """Makes browsers that have fetched their CSRF token."""
    return lambda: Browser(address).arrive()


def new_user() -> Any:
    return make_user(f"{uuid4().hex[:16]}@example.com")


def email_of(user: AbstractBaseUser) -> str:
    return str(getattr(user, user.get_email_field_name()))
