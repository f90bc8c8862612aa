"""Fixtures: `manage.py` and `manage.py demo`, each in a process of its own."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from django_secure_auth.kit.keys import b64encode, new_secret_bytes
from tests.testproject.server import PASSWORD, ROOT, Demo, Manage, answers, clean_environment

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture
def production() -> dict[str, str]:
    """A complete environment of a production process. Nothing in it is contacted before the first request."""
    return {
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "auth.example.com",
        "BASE_URL": "https://auth.example.com",
        "EMAIL_URL": "smtp+tls://user:secret@mail.example.com:587",
        "SECURE_AUTH_SIGNING_KEYS": f"k1:{b64encode(new_secret_bytes())}",
        "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{b64encode(new_secret_bytes())}",
        "CELERY_BROKER_URL": "rediss://:a-long-one@redis.example.com:6379/0",
        "CACHE_URL": "rediss://:a-long-one@redis.example.com:6379/1",
        "STATE_CACHE": "default",
        "DATABASE_URL": "postgres://user:another-one@db.example.com/auth?sslmode=verify-full",
        "ADMIN_PATH": "back-office/",
    }


@pytest.fixture
def manage() -> Manage:
    """Run `manage.py` with these arguments, in an environment that holds the named values only."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=clean_environment(**environment), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`manage.py demo` with a database, a cache and a mailbox of its own, for the tests of one file."""
    folder = tmp_path_factory.mktemp("demo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mailbox, log = folder / "mail", folder / "server.log"
    mailbox.mkdir()
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{folder / 'demo.sqlite3'}", EMAIL_URL=f"filemail:///{mailbox}"
    )
    command = [sys.executable, "manage.py", "demo", "--port", str(port), "--password", PASSWORD]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Demo(f"http://127.0.0.1:{port}", mailbox, log)
    finally:
        server.terminate()  # not SIGINT: whatever a shell starts in the background ignores that one
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def browser(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright's loop runs in this thread, and Django takes it for a sign of async code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()
