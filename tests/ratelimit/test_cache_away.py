"""A Redis server that is killed while it counts: sign-in closes, a host's view stays open, and the trail says so."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_secure_auth.decorators import rate_limit
from tests.browser import Browser, code_of, make_user, named
from tests.races.browser import in_threads, let_go

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


class Server:
    """A Redis of this test's own, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        told = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            ["redis-server", *told, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path, settings: Any) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed; `scripts/services start` installs it")
    server = Server(tmp_path)
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{server.port}/0",
        }
    }
    yield server
    let_go()
    server.kill()


@rate_limit("1000/min")
def search(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def host_view() -> int:
    request = RequestFactory().get("/search/")
    request.user = AnonymousUser()
    return search(request).status_code


def guess(browser: Browser) -> int:
    return int(browser.login(password="wrong").status_code)


@pytest.mark.control("ASVS-16.5.3")
def test_killed_under_load_the_policy_holds_and_an_event_tells(server: Server, configure: Callable[..., None]) -> None:
    configure(RATE_LIMITS={"login_account": "40/15m", "login_address": "100000/15m"})
    make_user()
    is_dead, is_over = threading.Event(), threading.Event()
    seen: dict[str, list[tuple[bool, int]]] = {"sign-in": [], "view": []}

    def load(kind: str, call: Callable[[], int]) -> None:
        while not is_over.is_set():
            began_dead = is_dead.is_set()
            seen[kind].append((began_dead, call()))
        let_go()

    def kill() -> None:
        time.sleep(0.5)
        server.kill()
        is_dead.set()
        time.sleep(0.5)
        is_over.set()

    guessers = [partial(load, "sign-in", partial(guess, _ready())) for _ in range(4)]
    in_threads([*guessers, *[partial(load, "view", host_view)] * 4, kill])

    judged = [status for _, status in seen["sign-in"]].count(401)
    assert 1 <= judged <= 40  # not one more than the limit, whatever happened in between
    assert {status for dead, status in seen["sign-in"] if not dead} <= {401, 429, 503}
    assert {status for dead, status in seen["sign-in"] if dead} == {503}
    assert {status for _, status in seen["view"]} == {200}
    assert code_of(_ready().login()) == "state_unavailable"  # the right password does not help either
    (event,) = named("rate_limit_unavailable")  # one in a minute, not one for each request
    assert (event.event_type, event.severity) == ("suspicious_request", "HIGH")
    assert event.details["error"] == "ConnectionError"

    server.start()
    assert guess(_ready()) == 401
    assert _ready().login().status_code == 202


def _ready() -> Browser:
    browser = Browser()
    browser.csrf()
    return browser
