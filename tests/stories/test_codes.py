"""E-mailed codes: five attempts, resends, the account's budget, and who may use a code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.otp.models import OTPBudget, OTPChallenge
from tests.browser import (
    PASSWORD,
    Browser,
    code_of,
    last_code,
    make_staff,
    make_user,
    named,
    trust,
    wrong_code,
)

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def asked(browser: Browser) -> Browser:
    make_user()
    browser.login()
    return browser


def _has_limit_headers(response: Any) -> bool:
    return {"Retry-After", "RateLimit-Policy", "RateLimit"} <= set(response.headers)


@pytest.mark.control("ASVS-6.6.3")
def test_a_closed_challenge_stays_closed_for_the_right_code(asked: Browser) -> None:
    """R17: the fifth wrong code ends the flow, and the right one comes too late."""
    right = last_code()
    for left in (4, 3, 2, 1, 0):
        response = asked.approve(wrong_code())
        assert (code_of(response), response.json()["attempts_left"]) == ("otp_invalid", left)
    for _ in range(3):
        assert code_of(asked.approve(right)) == "challenge_invalid"
    assert code_of(asked.resend()) == "challenge_invalid"
    (event,) = named("authn_otp_fail_max")
    assert event.severity == "HIGH"
    assert OTPChallenge.objects.get().attempts == 5


@pytest.mark.control("ASVS-6.5.1", "NIST-63B-3.1.3.2-b")
def test_a_code_works_once(asked: Browser) -> None:
    code = last_code()
    again = asked.copy("challenge")
    assert asked.approve(code).status_code == 200
    assert code_of(again.approve(code)) == "challenge_invalid"


@pytest.mark.control("ASVS-6.5.5", "NIST-63B-3.1.3.2-a")
def test_a_code_expires(asked: Browser, clock: Any) -> None:
    clock.forward(minutes=4, seconds=59)
    assert code_of(asked.approve(wrong_code())) == "otp_invalid"
    clock.forward(seconds=2)
    assert code_of(asked.approve()) == "challenge_invalid"
    assert code_of(asked.resend()) == "challenge_invalid"


@pytest.mark.parametrize("count", [1, 4])
def test_the_right_code_after_wrong_ones(asked: Browser, count: int) -> None:
    for _ in range(count):
        asked.approve(wrong_code())
    assert asked.approve().status_code == 200


@pytest.mark.parametrize(
    "spelled",
    [
        lambda code: code.translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)}),
        lambda code: code.translate({ord(str(digit)): 0x0660 + digit for digit in range(10)}),
        lambda code: f" {code}",
        lambda code: f"{code} ",
        lambda code: f"{code}\n",
        lambda code: f"{code[:3]} {code[3:]}",
        lambda code: f"+{code}",
        lambda code: f"0{code}",
        lambda code: int(code) + 10**6,
        lambda code: [code],
        lambda code: {"code": code},
        lambda code: None,
        lambda code: "",
        lambda code: code[:5],
        lambda code: True,
    ],
)
def test_only_ascii_digits_exactly_as_sent(asked: Browser, spelled: Callable[[str], Any]) -> None:
    """R21: another representation of the right code is ill-formed, and uses up no attempt."""
    response = asked.post("otp-approve", {"otp_code": spelled(last_code())})
    assert response.status_code == 400
    assert code_of(response) == "validation_error"
    assert "otp_code" in response.json()["errors"]
    assert OTPChallenge.objects.get().attempts == 0
    assert asked.approve().status_code == 200


@pytest.mark.control("ASVS-6.6.2", "ASVS-2.2.3")
def test_a_code_is_worth_nothing_in_another_browser(asked: Browser) -> None:
    other = Browser()
    assert code_of(other.approve()) == "challenge_invalid"
    assert OTPChallenge.objects.get().attempts == 0


def test_a_strangers_guesses_are_his_own_challenges(asked: Browser) -> None:
    """R18: guesses without, or with a foreign, challenge cookie use up nothing of the user's."""
    make_user("mallory@example.com")
    mallory = Browser()
    mallory.login("mallory@example.com")
    code = last_code()
    for _ in range(6):
        mallory.approve("000000" if code != "000000" else "111111")
    stranger = Browser()
    for _ in range(10):
        stranger.approve("000000")
    first = OTPChallenge.objects.filter(email="ana@example.com").get()
    assert first.attempts == 0
    assert not OTPBudget.objects.filter(user=first.user_id).exists()


@pytest.mark.parametrize("noise", ["", "noise", "A" * 48, "é"])
def test_noise_in_the_challenge_cookie(browser: Browser, noise: str) -> None:
    browser.csrf()
    browser.put("challenge", noise)
    assert code_of(browser.approve("123456")) == "challenge_invalid"
    assert code_of(browser.resend()) == "challenge_invalid"


def test_a_challenge_of_the_admin_is_no_sign_in(browser: Browser) -> None:
    """A code approves what it was asked for, and nothing else."""
    root = make_staff()
    browser.form(reverse("admin:login"), {"username": root.get_username(), "password": PASSWORD})
    assert code_of(browser.approve()) == "challenge_invalid"
    assert OTPChallenge.objects.get().attempts == 0


# --- resend


@pytest.mark.control("CS-MFA-resend")
def test_a_resend_makes_a_fresh_code_and_kills_the_old(asked: Browser, clock: Any) -> None:
    old = last_code()
    clock.forward(seconds=31)
    response = asked.resend()
    assert response.status_code == 202
    assert response.json()["status"] == "otp_required"
    assert not response.cookies
    assert len(mail.outbox) == 2
    fresh = last_code()
    if fresh != old:  # one time in a million they are the same
        assert code_of(asked.approve(old)) == "otp_invalid"
    assert asked.approve(fresh).status_code == 200


def test_a_resend_has_to_wait(asked: Browser, clock: Any) -> None:
    response = asked.resend()
    assert response.status_code == 429
    assert code_of(response) == "rate_limited"
    assert _has_limit_headers(response)
    assert 28 <= int(response["Retry-After"]) <= 30
    assert len(mail.outbox) == 1
    clock.forward(seconds=int(response["Retry-After"]))
    assert asked.resend().status_code == 202
    assert asked.approve().status_code == 200


def test_five_resends_and_no_more(asked: Browser, clock: Any) -> None:
    for _ in range(5):
        clock.forward(seconds=31)
        assert asked.resend().status_code == 202
    clock.forward(seconds=31)
    response = asked.resend()
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 200  # until the challenge is over
    assert len(mail.outbox) == 6
    assert asked.approve().status_code == 200


@pytest.mark.control("NIST-63B-3.1.3.2-d")
def test_the_attempts_are_the_challenges_over_all_its_codes(asked: Browser, clock: Any) -> None:
    """R48: a fresh code brings no fresh attempts."""
    for _ in range(3):
        asked.approve(wrong_code())
    clock.forward(seconds=31)
    assert asked.resend().json()["challenge"]["attempts_left"] == 2
    assert asked.approve(wrong_code()).json()["attempts_left"] == 1
    assert asked.approve(wrong_code()).json()["attempts_left"] == 0
    assert code_of(asked.approve()) == "challenge_invalid"


def test_a_resend_takes_no_field(asked: Browser, clock: Any) -> None:
    clock.forward(seconds=31)
    assert code_of(asked.resend(body={"email": "evil@example.com"})) == "validation_error"
    assert asked.resend(body={}).status_code == 202


def test_resends_are_within_the_accounts_limit_of_codes(browser: Browser, clock: Any, configure: Configure) -> None:
    configure(RATE_LIMITS={"otp": "2/1d"})
    make_user()
    browser.login()
    clock.forward(seconds=31)
    assert browser.resend().status_code == 202
    clock.forward(seconds=31)
    response = browser.resend()
    assert response.status_code == 429
    assert response["RateLimit-Policy"].startswith('"otp"')
    assert len(mail.outbox) == 2


# --- the account's budget


def _spend(wrong: int) -> None:
    """Wrong codes in a row, in as many challenges as it takes."""
    while wrong > 0:
        attacker = Browser(address=f"198.51.100.{wrong}")
        assert attacker.login().status_code == 202
        for _ in range(min(5, wrong)):
            assert code_of(attacker.approve(wrong_code())) == "otp_invalid"
        wrong -= 5


@pytest.mark.control("NIST-63B-3.2.2-a", "ASVS-6.6.3")
def test_the_accounts_budget_survives_challenges_and_stops_codes(browser: Browser, clock: Any) -> None:
    """R48: fifty wrong codes in a row, over any number of challenges, stop codes; a trusted device still signs in."""
    user = make_user()
    trust(browser, user)
    open_one = Browser()
    open_one.login()
    code = last_code()
    _spend(50)
    assert OTPBudget.objects.get().wrong_in_a_row == 50
    assert code_of(open_one.approve(code)) == "challenge_invalid"
    sent = len(mail.outbox)
    refused = Browser(address="198.51.100.99").login()
    assert refused.status_code == 429
    assert _has_limit_headers(refused)
    clock.forward(seconds=31)
    resent = open_one.resend()
    assert resent.status_code == 429
    assert resent["RateLimit-Policy"].startswith('"otp_account"')
    assert len(mail.outbox) == sent
    assert browser.login().status_code == 200


def test_impatient_clicks_do_not_use_up_the_accounts_codes(browser: Browser, clock: Any) -> None:
    """Only a code that is sent counts."""
    make_user()
    browser.login()
    assert {browser.resend().status_code for _ in range(25)} == {429}
    clock.forward(seconds=31)
    assert browser.resend().status_code == 202
    assert Browser().login().status_code == 202


def test_the_fiftieth_may_be_the_right_one(browser: Browser) -> None:
    make_user()
    _spend(49)
    browser.login()
    assert browser.approve().status_code == 200
    assert OTPBudget.objects.get().wrong_in_a_row == 0


def test_a_right_code_resets_the_budget_and_an_administrator_does(browser: Browser, configure: Configure) -> None:
    user = make_user()
    configure(OTP_ACCOUNT_ATTEMPTS=5)
    _spend(5)
    assert browser.login().status_code == 429
    OTPBudget.objects.filter(user=user.pk).delete()
    browser.sign_in()


def test_ending_at_the_budget_counts_within_a_challenge(browser: Browser, configure: Configure) -> None:
    make_user()
    configure(OTP_ACCOUNT_ATTEMPTS=5, OTP_ATTEMPTS=10)
    browser.login()
    for _ in range(5):
        assert code_of(browser.approve(wrong_code())) == "otp_invalid"
    assert code_of(browser.approve()) == "challenge_invalid"


# --- settings


@pytest.mark.parametrize("digits", [6, 8, 9])
def test_the_length_is_a_setting(browser: Browser, configure: Configure, digits: int) -> None:
    configure(OTP_LENGTH=digits)
    make_user()
    browser.login()
    assert len(last_code()) == digits
    if digits != 6:
        assert code_of(browser.approve("123456")) == "validation_error"
    assert browser.approve().status_code == 200


def test_attempts_and_life_are_settings(browser: Browser, configure: Configure, clock: Any) -> None:
    configure(OTP_ATTEMPTS=1, OTP_TTL=timedelta(minutes=1))
    make_user()
    assert browser.login().json()["challenge"]["attempts_left"] == 1
    assert browser.approve(wrong_code()).json()["attempts_left"] == 0
    assert code_of(browser.approve()) == "challenge_invalid"
    browser.login()
    clock.forward(seconds=61)
    assert code_of(browser.approve()) == "challenge_invalid"


def test_resends_and_their_interval_are_settings(browser: Browser, configure: Configure) -> None:
    configure(OTP_RESENDS=1, OTP_RESEND_INTERVAL=timedelta(0))
    make_user()
    browser.login()
    assert browser.resend().status_code == 202
    assert browser.resend().status_code == 429


@pytest.mark.control("NIST-63B-3.2.2-b")
def test_waiting_gives_an_account_no_codes_back(browser: Browser, configure: Configure, clock: Any) -> None:
    configure(OTP_ACCOUNT_ATTEMPTS=5)
    make_user()
    _spend(5)
    for _ in range(12):
        clock.forward(days=30)
        assert code_of(browser.login()) == "rate_limited"


@pytest.mark.control("ASVS-6.5.8")
def test_the_client_has_no_say_in_how_old_a_code_is(asked: Browser, clock: Any) -> None:
    asked_at = timezone.now().isoformat()
    clock.forward(minutes=5, seconds=1)
    body = {"otp_code": last_code()}
    assert code_of(asked.post("otp-approve", {**body, "at": asked_at})) == "validation_error"
    for header in ("Date", "X-Timestamp", "X-Request-Time"):
        assert code_of(asked.copy("challenge").post("otp-approve", body, headers={header: asked_at})) == (
            "challenge_invalid"
        )
