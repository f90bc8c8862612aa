"""Idle and absolute deadlines of our sessions and of Django's."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.sessions.models import Session
from tests.browser import Browser, admin_browser, code_of, is_signed_in, make_user, named, session_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.stories.host")]
Configure = Callable[..., None]


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


@pytest.mark.control("ASVS-7.3.1", "TOP10-A07:2025")
def test_an_idle_session_ends_with_a_minute_of_slack(signed_in: Browser, clock: Any) -> None:
    session = Session.objects.get()
    assert session.idle_at - session.created_at == timedelta(minutes=30)
    clock.forward(minutes=30, seconds=50)  # last-seen may be late by a minute: that much is granted
    assert signed_in.refresh().status_code == 200
    clock.forward(minutes=31, seconds=10)
    assert code_of(signed_in.refresh()) == "session_inactive"
    assert code_of(signed_in.me()) == "not_authenticated"  # the refusal has cleared the cookies


def test_the_access_token_of_an_idle_session_is_refused(signed_in: Browser) -> None:
    Session.objects.update(idle_at=timezone.now() - timedelta(minutes=2))
    assert code_of(signed_in.me()) == "session_inactive"
    assert code_of(signed_in.request("GET", reverse("probe"))) == "session_inactive"


def test_the_slack_counts_for_access_tokens_too(signed_in: Browser) -> None:
    Session.objects.update(idle_at=timezone.now() - timedelta(seconds=30))
    assert is_signed_in(signed_in)


def test_activity_moves_the_idle_deadline(signed_in: Browser, clock: Any) -> None:
    before = Session.objects.get()
    for _ in range(4):
        clock.forward(minutes=4)
        signed_in.refresh()
        clock.forward(minutes=2)
        assert is_signed_in(signed_in)
    after = Session.objects.get()
    assert after.idle_at - before.idle_at > timedelta(minutes=23)
    assert after.absolute_at == before.absolute_at


def test_last_seen_is_written_at_most_once_a_minute(signed_in: Browser, clock: Any) -> None:
    """R51: not with every request."""
    is_signed_in(signed_in)
    first = Session.objects.get().last_seen_at
    clock.forward(seconds=30)
    is_signed_in(signed_in)
    assert Session.objects.get().last_seen_at == first
    clock.forward(seconds=31)
    is_signed_in(signed_in)
    assert Session.objects.get().last_seen_at > first


@pytest.mark.control("ASVS-7.3.2", "ASVS-10.4.8", "NIST-63B-2.1.3", "TOP10-A07:2025")
def test_nothing_moves_the_absolute_deadline(signed_in: Browser, clock: Any) -> None:
    session = Session.objects.get()
    assert session.absolute_at - session.created_at == timedelta(hours=12)
    for _ in range(25):
        clock.forward(minutes=28)
        assert signed_in.refresh().status_code == 200
        assert is_signed_in(signed_in)
    assert Session.objects.get().absolute_at == session.absolute_at
    clock.forward(minutes=21)
    assert code_of(signed_in.refresh()) == "session_inactive"


def test_the_absolute_deadline_has_no_slack(signed_in: Browser) -> None:
    now = timezone.now()
    Session.objects.update(idle_at=now - timedelta(minutes=1), absolute_at=now - timedelta(seconds=1))
    assert code_of(signed_in.me()) == "session_inactive"
    assert code_of(signed_in.refresh()) == "session_inactive"


@pytest.mark.control("ASVS-9.2.1")
def test_deadlines_cap_the_access_token(browser: Browser, configure: Configure, clock: Any) -> None:
    configure(SESSION_ABSOLUTE_TIMEOUT=timedelta(minutes=7), STEP_UP_MAX_AGE=timedelta(minutes=5))
    make_user()
    session = session_of(browser.sign_in())
    claims = _claims(browser.value("access"))
    assert claims["exp"] - claims["iat"] == 300
    clock.forward(minutes=4)
    body = browser.refresh().json()
    claims = _claims(browser.value("access"))
    assert claims["exp"] == int(session.absolute_at.timestamp())
    assert body["access_expires_at"] == body["session"]["expires_at"]


def test_the_idle_deadline_caps_the_access_token(browser: Browser, configure: Configure) -> None:
    configure(SESSION_IDLE_TIMEOUT=timedelta(minutes=2), ACTIVITY_INTERVAL=timedelta(seconds=10))
    make_user()
    session = session_of(browser.sign_in())
    claims = _claims(browser.value("access"))
    assert session.idle_at - session.created_at == timedelta(minutes=2)
    assert claims["exp"] == int((session.idle_at + timedelta(seconds=10)).timestamp())


def test_an_expired_access_token_says_so_and_a_refresh_helps(signed_in: Browser, clock: Any) -> None:
    clock.forward(minutes=5, seconds=1)
    assert code_of(signed_in.me()) == "token_expired"
    signed_in.refresh()
    assert is_signed_in(signed_in)


def test_an_expired_token_is_refused_though_it_was_remembered(
    signed_in: Browser, clock: Any, configure: Configure
) -> None:
    assert is_signed_in(signed_in)
    clock.forward(minutes=5, seconds=1)
    assert code_of(signed_in.me()) == "token_expired"
    configure(CLOCK_LEEWAY=timedelta(seconds=30))
    assert is_signed_in(signed_in)


@pytest.mark.control("NIST-63B-5.1.2")
def test_background_traffic_is_checked_and_keeps_nothing_alive(signed_in: Browser, clock: Any) -> None:
    """R56: a poller neither writes last-seen nor moves the deadline, also when it refreshes its tokens."""
    before = Session.objects.get()
    for _ in range(7):
        clock.forward(minutes=4)
        assert signed_in.refresh().status_code == 200
        assert signed_in.request("GET", "/poll/").status_code == 200
    after = Session.objects.get()
    assert (after.last_seen_at, after.idle_at, after.acked) == (before.last_seen_at, before.idle_at, True)
    clock.forward(minutes=4)
    assert code_of(signed_in.refresh()) == "session_inactive"


def test_background_traffic_ends_the_grace_of_the_token_before(signed_in: Browser, clock: Any) -> None:
    """R46: a thief one step behind is noticed while the owner's tab only polls."""
    stolen = signed_in.value("refresh")
    signed_in.refresh()
    assert signed_in.request("GET", "/poll/").status_code == 200
    clock.forward(seconds=11)
    thief = Browser()
    thief.put("refresh", stolen)
    assert code_of(thief.refresh()) == "refresh_reused"


def test_last_seen_survives_a_failing_view(signed_in: Browser) -> None:
    """With ATOMIC_REQUESTS the view's transaction is rolled back; the session was used all the same."""
    signed_in.client.raise_request_exception = False
    response = signed_in.request("GET", "/fails/")
    assert response.status_code == 500
    assert code_of(response) == "internal_error"
    assert Session.objects.get().acked


# --- Django's own sessions


@pytest.mark.control("ADMIN-hardening")
@pytest.mark.parametrize("away", [timedelta(minutes=31, seconds=1), timedelta(days=1), timedelta(days=2, seconds=5)])
def test_the_admin_session_times_out(clock: Any, away: timedelta) -> None:
    """R38: server time, and whole days count: a `.seconds` of two days and five seconds is five."""
    root = admin_browser()
    assert root.page(reverse("admin:index")).status_code == 200
    clock.forward(away)
    response = root.page(reverse("admin:index"))
    assert response.status_code == 302
    assert reverse("admin:login") in response["Location"]
    (event,) = named("session_expired")
    assert event.user_id


def test_the_admin_session_lives_while_it_is_used_and_ends_at_its_absolute_deadline(clock: Any) -> None:
    root = admin_browser()
    for _ in range(24):
        assert root.page(reverse("admin:index")).status_code == 200
        clock.forward(minutes=29, seconds=59)
    assert root.page(reverse("admin:index")).status_code == 200
    clock.forward(minutes=2)
    assert root.page(reverse("admin:index")).status_code == 302


def test_the_admin_session_has_the_same_slack(clock: Any) -> None:
    root = admin_browser()
    root.page(reverse("admin:index"))
    clock.forward(minutes=30, seconds=50)
    assert root.page(reverse("admin:index")).status_code == 200


def test_a_plain_poller_does_not_keep_a_django_session_alive(clock: Any) -> None:
    """R56: for plain Django views as well."""
    root = admin_browser()
    assert root.page("/plain/").content == b"True"
    for _ in range(3):
        clock.forward(minutes=10)
        assert root.page("/plain-poll/").content == b"True"
    clock.forward(minutes=2)
    assert root.page("/plain-poll/").content == b"False"
    assert SESSION_KEY not in root.client.session


def test_the_stamp_is_written_once_an_interval(clock: Any) -> None:
    root = admin_browser()
    root.page("/plain/")
    first = root.client.session["_secure_auth_seen"]
    clock.forward(seconds=20)
    root.page("/plain/")
    assert root.client.session["_secure_auth_seen"] == first
    clock.forward(seconds=41)
    root.page("/plain/")
    assert root.client.session["_secure_auth_seen"] > first


@pytest.mark.control("CS-Session-fixation")
def test_a_made_up_django_session_is_nobodys(browser: Browser) -> None:
    browser.client.cookies["sessionid"] = "x" * 32
    assert browser.page("/plain/").content == b"False"


def test_the_client_has_no_say_in_how_long_it_was_idle(clock: Any) -> None:
    """R38: whatever the browser claims about its idle time is not read."""
    root = admin_browser()
    root.page("/plain/")
    clock.forward(minutes=32)
    response = root.client.get("/plain/?idleFor=0", secure=True, headers={"X-Idle-For": "0"})
    assert response.content == b"False"


def test_a_project_without_django_sessions_works(browser: Browser, settings: Any) -> None:
    """An API alone needs no SessionMiddleware; a cookie named like Django's must not break it."""
    without = ("SessionMiddleware", "AuthenticationMiddleware", "MessageMiddleware")
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith(without)]
    make_user()
    browser.client.cookies["sessionid"] = "x" * 32
    browser.sign_in()
    assert is_signed_in(browser)
    assert browser.logout().status_code == 204
