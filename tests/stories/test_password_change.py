"""`password/change/`: the current password is the proof, and what was opened under it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from django_secure_auth import signals
from django_secure_auth.accounts import services
from django_secure_auth.otp.models import OTPChallenge
from tests.browser import PASSWORD, Browser, Clock, code_of, is_signed_in, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
NEW = "another long pass phrase"


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def change(browser: Browser, current: str = PASSWORD, new: str = NEW, **extra: Any) -> Any:
    return browser.post("password-change", {"current_password": current, "new_password": new}, **extra)


@pytest.mark.control("ASVS-6.2.2", "ASVS-6.2.3", "ASVS-7.4.3")
def test_every_other_session_ends_and_this_one_goes_on(signed_in: Browser, clock: Clock) -> None:
    other = Browser(address="198.51.100.7")
    other.sign_in()
    clock.forward(minutes=6)
    other.refresh()
    signed_in.refresh()  # no proof, but the current password is one: nothing else is asked for
    answer = change(signed_in)
    assert (answer.status_code, answer.content) == (204, b"")
    assert is_signed_in(signed_in)
    assert signed_in.refresh().status_code == 200
    assert code_of(other.me()) == "session_revoked"
    assert code_of(other.refresh()) == "session_revoked"
    assert code_of(Browser().login()) == "invalid_credentials"
    assert Browser().login(password=NEW).status_code == 202
    (event,) = named("authn_password_change")
    assert event.user_id == str(get_user_model()._default_manager.get().pk)


def test_a_wrong_current_password_changes_nothing_and_is_counted(signed_in: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_device": "2/15m"})
    assert [code_of(change(signed_in, "wrong")) for _ in range(3)] == ["invalid_credentials"] * 2 + ["rate_limited"]
    assert len(named("authn_password_change_fail")) == 2
    assert is_signed_in(signed_in)
    assert Browser().login().status_code in {200, 202}


@pytest.mark.control("NIST-63B-3.1.1.2-d")
def test_a_refused_password_says_everything_that_is_wrong(signed_in: Browser, settings: Any) -> None:
    validation = "django.contrib.auth.password_validation"
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"{validation}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
        {"NAME": f"{validation}.CommonPasswordValidator"},
    ]
    answer = change(signed_in, new="password")
    assert (answer.status_code, code_of(answer)) == (422, "password_rejected")
    assert len(answer.json()["errors"]["new_password"]) == 2
    assert change(signed_in, new=PASSWORD).json()["errors"]["new_password"] == [
        "This is the password that you have now."
    ]
    assert [event.details["reason"] for event in named("authn_password_change_fail")] == ["policy"] * 2
    assert change(signed_in).status_code == 204


def test_a_code_that_was_asked_for_under_the_old_password_is_dead(signed_in: Browser) -> None:
    half = Browser(address="198.51.100.7")
    assert half.login().status_code == 202
    change(signed_in)
    assert code_of(half.approve()) == "challenge_invalid"
    assert OTPChallenge.objects.filter(used_at=None).exists()


@pytest.mark.control("NIST-63B-3.1.1.2-a")
def test_the_form_of_the_characters_does_not_matter(signed_in: Browser) -> None:
    assert change(signed_in, new="Gru\u0308ße aus Zu\u0308rich").status_code == 204
    assert Browser().login(password="Gr\u00fcße aus Z\u00fcrich").status_code == 202
    assert Browser().login(password="Gru\u0308ße aus Zu\u0308rich").status_code == 202
    assert Browser().login(password="\uff27r\u00fcße aus Z\u00fcrich").status_code == 401  # a like character is another


def test_of_two_changes_at_once_one_comes_through(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    real = services.judge_new_password

    def meanwhile(new: str, user: Any, **extra: Any) -> None:
        monkeypatch.setattr(services, "judge_new_password", real)
        assert change(signed_in.copy(), new="the winner's pass phrase").status_code == 204
        real(new, user, **extra)

    monkeypatch.setattr(services, "judge_new_password", meanwhile)
    assert code_of(change(signed_in)) == "invalid_credentials"
    assert Browser().login(password="the winner's pass phrase").status_code == 202
    assert is_signed_in(signed_in)


def test_a_project_hears_of_it(signed_in: Browser) -> None:
    heard: list[Any] = []

    def hear(**said: Any) -> None:
        heard.append((said["user_id"], said["how"]))

    signals.password_changed.connect(hear)
    try:
        change(signed_in)
    finally:
        signals.password_changed.disconnect(hear)
    assert heard == [(get_user_model()._default_manager.get().pk, "change")]


def test_strangers_and_other_sites_are_refused(signed_in: Browser) -> None:
    assert code_of(change(Browser())) == "not_authenticated"
    assert code_of(change(signed_in, csrf=False)) == "csrf_failed"
    assert change(signed_in, new="x" * 257).status_code == 400
