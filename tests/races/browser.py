"""Clients over real HTTP, and a way to let many of them go at the same moment."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import cookies as http_cookies
from typing import Any, TypeVar

from django.core import mail
from django.core.cache import caches
from django.db import connections
from django.urls import reverse

from django_secure_auth.testing import latest_code

ACCESS = "__Host-secure_auth_access"
REFRESH = "__Secure-secure_auth_refresh"
CHALLENGE = "__Host-secure_auth_challenge"
DEVICE = "__Host-secure_auth_device"
TIMEOUT = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One response, and when its request began and ended (monotonic seconds)."""

    status: int
    headers: http.client.HTTPMessage
    body: Any
    began: float
    ended: float

    @property
    def code(self) -> str:
        return str(self.body["code"])

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets; one that it deletes has no value."""
        found: dict[str, str] = {}
        for line in self.headers.get_all("Set-Cookie") or []:
            for name, morsel in http_cookies.SimpleCookie(line).items():
                found[name] = "" if morsel["max-age"] == "0" else morsel.value
        return found


@dataclass(frozen=True)
class Call:
    """A request that is ready to go: it holds the cookies of the moment at which it was made."""

    address: tuple[str, int]
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None

    def send(self, ready: Callable[[], object] = lambda: None) -> Answer:
        """Connect, call `ready`, then send."""
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT)
        try:
            connection.connect()
            ready()
            began = time.monotonic()
            connection.request(self.method, self.path, body=self.body, headers=self.headers)
            response = connection.getresponse()
            raw = response.read()
            ended = time.monotonic()
        finally:
            connection.close()
        body = json.loads(raw) if "json" in response.headers.get("Content-Type", "") else raw
        return Answer(response.status, response.headers, body, began, ended)


@dataclass
class Browser:
    """Keeps cookies by name, and proves them against CSRF as a page of ours would."""

    address: tuple[str, int]
    jar: dict[str, str] = field(default_factory=dict)
    csrf_token: str = ""

    def call(self, method: str, name: str, body: Any = None, *, jar: dict[str, str] | None = None) -> Call:
        held = self.jar if jar is None else jar
        headers = {"Connection": "close", "Cookie": "; ".join(f"{key}={value}" for key, value in held.items())}
        if method != "GET":
            headers["X-CSRF-Token"] = self.csrf_token
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        return Call(self.address, method, reverse(name), headers, data)

    def send(self, method: str, name: str, body: Any = None) -> Answer:
        answer = self.call(method, name, body).send()
        self.keep(answer)
        return answer

    def keep(self, answer: Answer) -> None:
        for name, value in answer.cookies.items():
            if value:
                self.jar[name] = value
            else:
                self.jar.pop(name, None)

    def arrive(self) -> Browser:
        """Fetch the CSRF token; returns itself."""
        answer = self.send("GET", "secure_auth:csrf")
        assert answer.status == 200, answer
        self.csrf_token = answer.body["csrf_token"]
        return self

    def copy(self) -> Browser:
        return Browser(self.address, dict(self.jar), self.csrf_token)

    # --- steps of the journey --------------------------------------------------------------------

    def login(self, email: str, password: str) -> Call:
        return self.call("POST", "secure_auth:login", {"email": email, "password": password})

    def approve(self, code: str) -> Call:
        return self.call("POST", "secure_auth:otp-approve", {"otp_code": code})

    def resend(self) -> Call:
        return self.call("POST", "secure_auth:otp-resend")

    def refresh(self) -> Call:
        return self.call("POST", "secure_auth:refresh")

    def logout(self) -> Call:
        return self.call("POST", "secure_auth:logout")

    def probe(self) -> Call:
        """A host's own view, with the credentials of this browser."""
        return self.call("GET", "probe")

    def me(self) -> Call:
        """One of our own views, which no transaction of the project's is wrapped around."""
        return self.call("GET", "secure_auth:me")

    def sign_in(self, email: str, password: str) -> Answer:
        """The whole sign-in, with a code if one is asked for."""
        answer = self.login(email, password).send()
        self.keep(answer)
        if answer.status == 202:
            answer = self.approve(code_for(email)).send()
            self.keep(answer)
        assert answer.status == 200, answer
        return answer


def statuses(answers: Iterable[Answer]) -> Counter[str]:
    """How often each status came, with the code of a refusal: ``{"200": 1, "401 challenge_invalid": 15}``."""
    return Counter(str(one.status) if one.status < 400 else f"{one.status} {one.code}" for one in answers)


def mails_to(email: str) -> list[Any]:
    outbox: list[Any] = getattr(mail, "outbox", [])
    return [message for message in outbox if email in message.to]


def code_for(email: str) -> str:
    return latest_code(mails_to(email))


def wrong_code_beside(code: str, step: int = 1) -> str:
    """A code of the same length that is not the right one; another for each `step`."""
    return str((int(code) + step) % 10 ** len(code)).zfill(len(code))


def at_once(calls: Iterable[Call]) -> list[Answer]:
    """Send all requests at the same moment: each is connected before the first one goes."""
    waiting = list(calls)
    barrier = threading.Barrier(len(waiting))
    return in_threads([partial(call.send, ready=partial(barrier.wait, TIMEOUT)) for call in waiting])


def let_go() -> None:
    """Close what this thread has opened. Django does it for databases, and leaves a cache's sockets to chance."""
    connections.close_all()
    for cache in caches.all(initialized_only=True):
        for pool in getattr(getattr(cache, "_cache", None), "_pools", {}).values():  # Django's Redis client
            pool.disconnect()


def in_threads(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run each job in a thread of its own and return what they return; the first error is raised."""
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            results[number] = jobs[number]()
        except BaseException as error:
            errors.append(error)
        finally:
            let_go()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(jobs))]
