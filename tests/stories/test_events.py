"""What the trail, the log and the signals tell of each story."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.signals import request_finished
from django.db import connection
from django.db.models.signals import post_save, pre_save
from django.dispatch import Signal

from django_secure_auth import signals
from django_secure_auth.audit.models import SecurityEvent
from tests.browser import Browser, code_of, make_user, named, session_of, wrong_code

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture(params=["atomic", "autocommit"], autouse=True)
def transactions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event in both kinds of project."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param == "atomic")


@contextmanager
def heard(*which: Signal) -> Iterator[list[dict[str, Any]]]:
    """Collect what the signals send."""
    seen: list[dict[str, Any]] = []

    def listen(signal: Signal, sender: Any, **kwargs: Any) -> None:
        seen.append({"signal": signal, "sender": sender, **kwargs})

    for signal in which:
        signal.connect(listen)
    try:
        yield seen
    finally:
        for signal in which:
            signal.disconnect(listen)


def _names() -> list[str]:
    return list(SecurityEvent.objects.order_by("id").values_list("event", flat=True))


def test_a_whole_story_changes_no_global_state(browser: Browser) -> None:
    """R39: neither a signal's receivers nor a setting; another thread's request would meet the change."""
    make_user()
    watched = (user_logged_in, user_logged_out, user_login_failed, pre_save, post_save, request_finished)

    def state() -> tuple[Any, ...]:
        receivers = [list(signal.receivers) for signal in watched]
        return receivers, {name: repr(getattr(settings, name)) for name in dir(settings) if name.isupper()}

    browser.sign_in()
    before = state()
    browser.refresh()
    browser.login(password="wrong")
    browser.logout()
    browser.sign_in()
    assert state() == before


@pytest.mark.control(
    "LOGVOC-authn_login_success", "LOGVOC-session_created", "LOGVOC-session_renewed", "LOGVOC-session_logout"
)
def test_a_whole_story_is_told(browser: Browser) -> None:
    user = make_user()
    browser.login()
    session = session_of(browser.approve())
    browser.refresh()
    browser.logout()
    assert sorted(_names()) == sorted(
        [
            "authn_otp_sent",
            "authn_otp_approved",
            "authn_device_trusted",
            "session_created",
            "authn_login_success",
            "session_renewed",
            "authn_token_revoked",
        ]
    )
    for event in SecurityEvent.objects.all():
        assert event.user_id == str(user.pk)
        assert event.severity == "INFO"
        assert event.ip_address == ("" if event.event == "authn_otp_sent" and not event.ip_address else "192.0.2.1")
        assert event.request_id
    assert {event.session_id for event in SecurityEvent.objects.exclude(session_id="")} == {str(session.pk)}
    assert named("authn_login_success")[0].details["amr"] == ["pwd", "email"]
    assert named("authn_token_revoked")[0].details["reason"] == "sign_out"


@pytest.mark.control("LOGVOC-authn_login_fail")
@pytest.mark.parametrize(
    ("email", "flags", "reason"),
    [
        ("ana@example.com", {}, "wrong_password"),
        ("nobody@example.com", {}, "unknown"),
        ("ana@example.com", {"is_active": False}, "inactive"),
    ],
)
def test_a_refused_sign_in_is_told_with_its_true_reason(
    browser: Browser, email: str, flags: dict[str, Any], reason: str
) -> None:
    user = make_user(**flags)
    browser.login(email, "wrong")
    (event,) = named("authn_login_fail")
    assert event.severity == "MEDIUM"
    assert event.details["reason"] == reason
    assert event.user_id == ("" if reason == "unknown" else str(user.pk))


def test_refused_codes_are_told(browser: Browser) -> None:
    make_user()
    browser.login()
    for _ in range(5):
        browser.approve(wrong_code())
    assert [event.details["attempts_left"] for event in named("authn_otp_fail")] == [4, 3, 2, 1]
    assert named("authn_otp_fail_max")[0].details["attempts_left"] == 0


@pytest.mark.control("LOGVOC-input_validation_fail", "LOGVOC-malicious_extraneous")
def test_refused_input_is_told_by_field_and_not_by_value(browser: Browser) -> None:
    make_user()
    browser.post("login", {"email": "ana@example.com", "password": "s3cret-value", "is_staff": "s3cret-value"})
    (event,) = named("input_validation_fail")
    assert event.severity == "LOW"
    assert event.details["fields"] == ["is_staff"]
    assert "s3cret-value" not in repr(event.details)


def test_a_limit_is_told_once_a_window(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_account": "1/15m", "refresh": "1/15m"})
    make_user()
    for _ in range(4):
        browser.login(password="wrong")
    for _ in range(4):
        browser.refresh()
    assert [event.details["limit"] for event in named("excess_rate_limit_exceeded")] == ["login_account", "refresh"]


def test_the_use_of_an_ended_session_is_told_once_in_five_minutes(browser: Browser) -> None:
    make_user()
    browser.sign_in()
    tab = browser.copy("access")
    browser.logout()
    for _ in range(5):
        tab.me()
    (event,) = named("session_use_after_expire")
    assert event.details["reason"] == "session_revoked"


def test_a_replaced_session_is_told(browser: Browser) -> None:
    make_user()
    browser.sign_in()
    browser.login()
    assert named("authn_token_revoked")[0].details["reason"] == "replaced"


def test_each_event_is_one_log_line(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    make_user()
    with caplog.at_level(logging.INFO, logger="django_secure_auth.security"):
        browser.sign_in()
        browser.login(password="wrong")
    lines = [record.__dict__["event"] for record in caplog.records if record.name == "django_secure_auth.security"]
    assert sorted(lines) == sorted(_names())


def test_the_problem_document_and_the_trail_share_the_request_id(browser: Browser) -> None:
    make_user()
    response = browser.login(password="wrong")
    assert named("authn_login_fail")[0].request_id == response.json()["request_id"]


def test_django_hears_of_sign_in_and_sign_out(browser: Browser) -> None:
    user = make_user()
    with heard(user_logged_in, user_logged_out, user_login_failed) as seen:
        browser.login(password="wrong")
        browser.login()
        assert [entry["signal"] for entry in seen] == [user_login_failed]
        browser.approve()
        browser.logout()
    assert [entry["signal"] for entry in seen] == [user_login_failed, user_logged_in, user_logged_out]
    assert seen[1]["user"] == seen[2]["user"] == user
    assert seen[1]["request"].path.endswith("approve/")
    assert "wrong" not in repr(seen[0]["credentials"])
    user.refresh_from_db()
    assert user.last_login is not None


def test_our_signals(browser: Browser) -> None:
    user = make_user()
    ours = (
        signals.session_opened, signals.session_ended, signals.otp_sent, signals.otp_approved, signals.refresh_reused,
    )  # fmt: skip
    in_transaction: list[bool] = []

    def listen(**_: Any) -> None:
        in_transaction.append(connection.in_atomic_block)

    for signal in ours:
        signal.connect(listen)
    with heard(*ours) as seen:
        browser.login()
        session = session_of(browser.approve())
        thief = browser.copy("refresh")
        browser.refresh()
        browser.refresh()
        assert code_of(thief.refresh()) == "refresh_reused"
    for signal in ours:
        signal.disconnect(listen)
    assert [entry["signal"] for entry in seen] == [
        signals.otp_sent, signals.otp_approved, signals.session_opened, signals.session_ended, signals.refresh_reused,
    ]  # fmt: skip
    sent, approved, opened, ended, reused = seen
    assert sent["user_id"] == approved["user_id"] == ended["user_id"] == reused["user_id"] == user.pk
    assert sent["purpose"] == approved["purpose"] == "login"
    assert sent["challenge_id"] == approved["challenge_id"]
    assert opened["session"] == session
    assert opened["user"] == user
    assert opened["request"] is not None
    assert ended["session_id"] == reused["session_id"] == session.pk
    assert ended["reason"] == "refresh_reused"
    assert not any(in_transaction)


def test_a_listener_that_fails_stops_nobody(browser: Browser) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("a host's receiver has a defect")

    make_user()
    signals.session_opened.connect(fail)
    try:
        browser.sign_in()
    finally:
        signals.session_opened.disconnect(fail)
