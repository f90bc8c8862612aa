"""Nobody learns from registering, resetting or changing an address who has an account: bytes, headers, queries, time.

With a worker, which is where known and unknown part: here it takes the ids and does nothing.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.otp.policy import code_of as derived_code
from django_secure_auth.otp.tasks import send_code
from django_secure_auth.recovery.tasks import send_reset
from django_secure_auth.testing import sign_in
from tests.browser import PASSWORD, Browser, make_user
from tests.test_enumeration import _seen, _shape, _told_apart

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.control("ASVS-6.3.8")]
Configure = Callable[..., None]
MANY = "1000000/1d"

# Of the same length, or whoever types more is answered later.
ADDRESSES = {
    "unknown": "eve@example.com", "control": "ida@example.com", "known": "ana@example.com",
    "inactive": "ben@example.com",
}  # fmt: skip
PAIRS = [("unknown", "control"), ("unknown", "known"), ("unknown", "inactive"), ("known", "inactive")]


@pytest.fixture(autouse=True)
def worker(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("register", "password_reset", "password_reset_address", "otp", "otp_address")
    configure(
        BASE_URL="https://app.example", MAIL_DELIVERY="celery", RATE_LIMITS=dict.fromkeys(names, MANY)
    )  # fmt: skip
    for task in (send_code, send_reset):
        monkeypatch.setattr(task, "apply_async", lambda **_: None)
    make_user("ana@example.com")
    make_user("ben@example.com", is_active=False)


def _member() -> Browser:
    browser = Browser()
    sign_in(browser.client, make_user("me@example.com"))
    browser.csrf()
    return browser


def _register(browser: Browser, address: str) -> Any:
    return browser.post("register", {"email": address, "password": PASSWORD})


def _reset(browser: Browser, address: str) -> Any:
    return browser.post("password-reset", {"email": address})


def _change(browser: Browser, address: str) -> Any:
    return browser.post("email-change", {"new_email": address})


def _may_resend(browser: Browser, address: str) -> None:
    _register(browser, address)
    OTPChallenge.objects.update(resend_at="2020-01-01T00:00:00Z")


def _resend(browser: Browser, address: str) -> Any:
    _may_resend(browser, address)
    return browser.resend()


def _wrong_code(browser: Browser, address: str) -> str:
    _register(browser, address)
    right = str(derived_code(OTPChallenge.objects.order_by("-created_at")[0]))
    return right[:-1] + str((int(right[-1]) + 1) % 10)


def _verify(browser: Browser, address: str) -> Any:
    return browser.post("register-verify", {"otp_code": _wrong_code(browser, address)})


STORIES: dict[str, tuple[Callable[[Browser, str], Any], Callable[[], Browser]]] = {
    "register": (_register, Browser),
    "reset": (_reset, Browser),
    "email change": (_change, _member),
    "resend": (_resend, Browser),
    "verify": (_verify, Browser),
}
every = pytest.mark.parametrize("story", STORIES)


def _what_is_seen(response: Any) -> str:
    """Without what differs each time: ids, moments, the secret of the cookie, and the address that was typed itself."""
    status, body, headers = _seen(response)
    body = re.sub(rb'"(id|expires_at|resend_at|sent_to)":"[^"]*"', rb'"\1":"-"', body)
    named = [(name, re.sub(r"=[\w-]{40,}", "=-", value)) for name, value in headers]
    return repr((status, body, named))


@every
def test_bytes_and_headers_are_the_same(story: str) -> None:
    act, who = STORIES[story]
    browser = who()
    answers = {kind: _what_is_seen(act(browser, address)) for kind, address in ADDRESSES.items()}
    assert len(set(answers.values())) == 1, answers


@every
def test_the_database_is_asked_the_same_questions(story: str) -> None:
    act, who = STORIES[story]
    browser = who()
    act(browser, "warm@example.com")
    traces = []
    for address in ADDRESSES.values():
        with CaptureQueriesContext(connection) as queries:
            act(browser, address)
        traces.append([_shape(query["sql"]) for query in queries.captured_queries])
    assert traces[0]
    assert all(trace == traces[0] for trace in traces), traces


@every
def test_limits_are_the_same(story: str, configure: Configure) -> None:
    """RateLimit fields too: counted by what was typed, whoever has it."""
    names = ("register", "password_reset", "otp")
    configure(RATE_LIMITS=dict.fromkeys(names, "2/h"), BASE_URL="https://app.example", MAIL_DELIVERY="celery")
    act, who = STORIES[story]
    seen = set()
    for number, address in enumerate(ADDRESSES.values()):
        browser = who() if who is Browser else Browser()
        if who is _member:
            sign_in(browser.client, make_user(f"me{number}@example.com"))
        browser.client.defaults["REMOTE_ADDR"] = f"192.0.2.{number + 1}"
        statuses = [act(browser, address) for _ in range(3)]
        seen.add(tuple((one.status_code, "RateLimit" in one.headers) for one in statuses))
    assert len(seen) == 1


# What is measured: what goes before it is not. With the status that it answers.
TIMED: dict[str, tuple[Callable[[Browser, str], Any], Callable[[Browser, str, Any], Any], int]] = {
    "register": (lambda *_: None, lambda browser, address, _: _register(browser, address), 202),
    "reset": (lambda *_: None, lambda browser, address, _: _reset(browser, address), 202),
    "email change": (lambda *_: None, lambda browser, address, _: _change(browser, address), 202),
    "resend": (_may_resend, lambda browser, *_: browser.resend(), 202),
    "verify": (_wrong_code, lambda browser, _, code: browser.post("register-verify", {"otp_code": code}), 401),
    "approve": (_wrong_code, lambda browser, _, code: browser.approve(code), 401),
}


@pytest.mark.control("CS-ForgotPassword-uniform")
@pytest.mark.slow
@pytest.mark.parametrize("story", TIMED)
def test_four_hundred_interleaved_tries_do_not_tell_accounts_apart_by_time(story: str) -> None:
    """Mann–Whitney U over wall-clock times in random order, two-sided, alpha = 1e-4 for each of the four pairs, for a
    difference of more than 0.1 ms; see tests/test_enumeration.py.
    """
    before, act, status = TIMED[story]
    browser = _member() if story == "email change" else Browser()
    for address in ADDRESSES.values():
        act(browser, address, before(browser, address))
    order = [kind for kind in ADDRESSES for _ in range(100)]
    random.Random(20).shuffle(order)
    times: dict[str, list[float]] = {kind: [] for kind in ADDRESSES}
    for kind in order:
        prepared = before(browser, ADDRESSES[kind])
        started = time.perf_counter()
        response = act(browser, ADDRESSES[kind], prepared)
        times[kind].append(time.perf_counter() - started)
        assert response.status_code == status, json.loads(response.content)
    assert not _told_apart(times, *PAIRS, by=0.0001)
