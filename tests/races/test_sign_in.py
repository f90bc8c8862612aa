"""Sign-ins under a race: the limit is the limit, the owner gets in, and the number of sessions holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from django.core.cache import caches

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.counter import counter_for
from django_secure_auth.ratelimit.services import LimitReached, reserve
from django_secure_auth.sessions.models import Session
from tests.races.browser import DEVICE, Browser, at_once, in_threads, statuses
from tests.races.conftest import PASSWORD, ROUNDS, Configure, email_of, new_user

NewBrowser = Callable[[], Browser]
FIFTEEN_MINUTES = 15 * 60
# Twelve right passwords under way at once are more than the ten attempts that an account has.
ROOMY = {"login_account": "50/15m", "login_device": "50/15m"}


def counted(limit: str, identifier: str, rate: str) -> int:
    """How many attempts the counter of this window holds."""
    number = caches["default"].get(counter_for(limit, (identifier,), Rate.parse(rate)).key)
    assert isinstance(number, int)
    return number


@pytest.mark.control("ASVS-15.4.2")
def test_of_sixty_four_wrong_sign_ins_at_once_exactly_the_limit_is_judged(
    browser: NewBrowser, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8, R9, R15: ten of sixty-four, the block is not prolonged, and the owner's browser gets in meanwhile."""
    configure(OTP_POLICY="new_device", RATE_LIMITS={"login_account": "10/15m"})
    email, stranger = "", browser()
    for number in range(1, ROUNDS + 1):
        user = new_user()
        email = email_of(user)
        owner = browser()
        owner.sign_in(email, PASSWORD)
        assert owner.jar[DEVICE]
        _wait_for_a_young_window(email)

        answers = at_once(stranger.login(email, f"guess number {guess}") for guess in range(64))
        assert statuses(answers) == {"401 invalid_credentials": 10, "429 rate_limited": 54}
        for answer in answers:
            if answer.status == 429:
                assert 1 <= int(answer.headers["Retry-After"]) <= FIFTEEN_MINUTES + 90  # a tenth has to slide out
                assert answer.headers["RateLimit-Policy"] == '"login_account";q=10;w=900'
        refused = SecurityEvent.objects.filter(event="authn_login_fail", user_id=str(user.pk))
        assert refused.count() == 10
        assert SecurityEvent.objects.filter(event="excess_rate_limit_exceeded").count() == number

        # The refused ones have not grown the counter: the block is not prolonged, and it ends with its window.
        assert counted("login_account", email, "10/15m") == 10
        assert stranger.login(email, PASSWORD).send().status == 429
        # The owner's browser has a budget of its own.
        assert owner.login(email, PASSWORD).send().status == 200

    later = time.time() + 2 * FIFTEEN_MINUTES
    monkeypatch.setattr("time.time", lambda: later)
    assert stranger.login(email, "still a guess").send().status == 401
    assert counted("login_account", email, "10/15m") == 1


def _wait_for_a_young_window(email: str) -> None:
    """A window that ends during the race would rightly let another ten pass."""
    while counter_for("login_account", (email,), Rate.parse("10/15m")).over_at - time.time() < 15:
        time.sleep(1)


def test_right_sign_ins_at_once_leave_nothing_counted(browser: NewBrowser, configure: Configure) -> None:
    """R11, R14: what was reserved is given back, once each; the counter neither sticks nor goes below zero."""
    configure(OTP_POLICY="never", RATE_LIMITS={"login_account": "16/15m"})
    for _ in range(ROUNDS):
        user = new_user()
        _wait_for_a_young_window(email_of(user))
        clients = [browser() for _ in range(16)]
        answers = at_once(client.login(email_of(user), PASSWORD) for client in clients)
        assert statuses(answers) == {"200": 16}
        assert len({answer.body["session"]["id"] for answer in answers}) == 16
        assert counted("login_account", email_of(user), "16/15m") == 0


@pytest.mark.control("WSTG-SESS-11")
def test_of_twelve_sign_ins_at_once_three_sessions_live_when_three_are_allowed(
    browser: NewBrowser, configure: Configure
) -> None:
    """R31: the user's row is locked for the count, so that no two sign-ins both believe to fit."""
    configure(OTP_POLICY="never", MAX_SESSIONS_PER_USER=3, RATE_LIMITS=ROOMY)
    for _ in range(ROUNDS):
        user = new_user()
        clients = [browser() for _ in range(12)]
        answers = at_once(client.login(email_of(user), PASSWORD) for client in clients)
        assert statuses(answers) == {"200": 12}

        living = Session.objects.filter(user=user.pk).alive()
        assert living.count() == 3
        assert Session.objects.filter(user=user.pk, revoked_reason="limit").count() == 9
        for client, answer in zip(clients, answers, strict=True):
            client.keep(answer)
        passed = [client.probe().send().status for client in clients]
        assert sorted(passed) == [200] * 3 + [401] * 9


def test_sign_ins_at_once_in_one_browser_replace_its_session_and_none_fails(
    browser: NewBrowser, configure: Configure
) -> None:
    """ASVS 7.2.4, where two tabs submit the same form. It is also where MariaDB could find a deadlock."""
    configure(OTP_POLICY="never", RATE_LIMITS=ROOMY)
    for _ in range(ROUNDS):
        user = new_user()
        client = browser()
        first = client.sign_in(email_of(user), PASSWORD).body["session"]["id"]
        answers = at_once(client.login(email_of(user), PASSWORD) for _ in range(12))
        assert statuses(answers) == {"200": 12}
        assert not Session.objects.alive().filter(pk=first).exists()
        assert SecurityEvent.objects.filter(event="authn_token_revoked", session_id=first).count() == 1


def test_a_limit_of_ten_lets_exactly_ten_of_sixty_four_threads_pass(configure: Configure) -> None:
    """R15: without HTTP in between, as close together as threads can be."""
    configure(RATE_LIMITS={"refresh": "10/15m"})
    for number in range(ROUNDS):
        assert _passed("refresh", f"part {number}") == 10


def _passed(limit: str, part: str) -> int:
    barrier = threading.Barrier(64)

    def attempt() -> bool:
        barrier.wait()
        try:
            reserve(limit, part)
        except LimitReached:
            return False
        return True

    return sum(in_threads([attempt] * 64))
