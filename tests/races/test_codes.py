"""E-mailed codes under a race: five tries, one pass, one mail, one budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone

from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from django_secure_auth.sessions.models import Session
from tests.races.browser import Browser, at_once, code_for, mails_to, statuses, wrong_code_beside
from tests.races.conftest import PASSWORD, ROUNDS, Configure, email_of, new_user

NewBrowser = Callable[[], Browser]


@pytest.fixture(autouse=True)
def _always_a_code(configure: Configure) -> None:
    configure(OTP_POLICY="always")


def challenged(browser: NewBrowser, email: str) -> tuple[Browser, OTPChallenge]:
    """A browser that has shown the password and waits for its code."""
    client = browser()
    answer = client.send("POST", "secure_auth:login", {"email": email, "password": PASSWORD})
    assert answer.status == 202, answer
    return client, OTPChallenge.objects.get(pk=answer.body["challenge"]["id"])


@pytest.mark.control("ASVS-15.4.2")
def test_of_sixty_four_guesses_at_once_exactly_five_are_judged(browser: NewBrowser) -> None:
    """R8, R17, R49: each is counted before it is judged; then the challenge is closed, for the right code too."""
    for _ in range(ROUNDS):
        email = email_of(new_user())
        client, challenge = challenged(browser, email)
        code = code_for(email)
        answers = at_once(client.approve(wrong_code_beside(code, step)) for step in range(1, 65))

        assert statuses(answers) == {"401 otp_invalid": 5, "401 challenge_invalid": 59}
        left = [answer.body["attempts_left"] for answer in answers if answer.code == "otp_invalid"]
        assert all(0 <= number <= 4 for number in left)
        assert 0 in left
        challenge.refresh_from_db()
        assert challenge.attempts == 5
        assert statuses([client.approve(code).send()]) == {"401 challenge_invalid": 1}
        assert not Session.objects.filter(user=challenge.user_id).exists()


@pytest.mark.control("ASVS-6.5.1")
@pytest.mark.control("NIST-63B-3.1.3.2-b")
def test_the_right_code_sixteen_times_at_once_opens_one_session(browser: NewBrowser) -> None:
    """R17, R49: the first one closes the challenge, in the UPDATE that counts it."""
    for _ in range(ROUNDS):
        user = new_user()
        client, challenge = challenged(browser, email_of(user))
        code = code_for(email_of(user))
        answers = at_once(client.approve(code) for _ in range(16))

        assert statuses(answers) == {"200": 1, "401 challenge_invalid": 15}
        assert Session.objects.filter(user=user.pk).count() == 1
        assert TrustedDevice.objects.filter(user=user.pk).count() == 1
        (winner,) = (answer for answer in answers if answer.status == 200)
        client.keep(winner)
        assert client.probe().send().status == 200
        challenge.refresh_from_db()
        assert challenge.used_at is not None


def test_the_right_code_among_wrong_ones_at_once_passes_at_most_once(browser: NewBrowser) -> None:
    """R8, R49: whichever five are judged."""
    for _ in range(ROUNDS):
        user = new_user()
        client, _challenge = challenged(browser, email_of(user))
        code = code_for(email_of(user))
        answers = at_once(client.approve(wrong_code_beside(code, step % 3)) for step in range(24))
        counted = statuses(answers)
        assert counted["200"] <= 1
        assert counted["401 otp_invalid"] + counted["200"] <= 5
        assert counted["401 otp_invalid"] + counted["401 challenge_invalid"] + counted["200"] == 24
        assert Session.objects.filter(user=user.pk).count() == counted["200"]


def test_wrong_codes_of_parallel_challenges_never_exceed_the_accounts_budget(
    browser: NewBrowser, configure: Configure
) -> None:
    """R48: four challenges of five attempts each, and still one budget of six."""
    configure(OTP_ACCOUNT_ATTEMPTS=6)
    for number in range(ROUNDS):
        user = new_user()
        email = email_of(user)
        if number % 2:  # with the row of the budget there already, and with all of them racing to make it
            OTPBudget.objects.create(user_id=user.pk)
        clients = []
        for _ in range(4):
            client, _challenge = challenged(browser, email)
            clients.append((client, code_for(email)))
        answers = at_once(
            client.approve(wrong_code_beside(code, step)) for step in range(1, 9) for client, code in clients
        )

        assert statuses(answers) == {"401 otp_invalid": 6, "401 challenge_invalid": 26}
        assert OTPBudget.objects.get(user=user.pk).wrong_in_a_row == 6
        # No right code of any of them passes any more, and no further code is sent.
        for client, code in clients:
            assert client.approve(code).send().code == "challenge_invalid"
        answer = browser().send("POST", "secure_auth:login", {"email": email, "password": PASSWORD})
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert len(mails_to(email)) == 4
        total = OTPChallenge.objects.filter(user=user.pk).aggregate(sum=Sum("attempts"))["sum"]
        assert total <= 4 * 5


def test_resends_at_once_mail_one_code_more(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        email = email_of(new_user())
        client, challenge = challenged(browser, email)
        OTPChallenge.objects.filter(pk=challenge.pk).update(resend_at=timezone.now() - timedelta(seconds=1))
        old = code_for(email)
        answers = at_once(client.resend() for _ in range(16))

        assert statuses(answers) == {"202": 1, "429 rate_limited": 15}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status == 429)
        assert len(mails_to(email)) == 2
        challenge.refresh_from_db()
        assert (challenge.send_number, challenge.mailed_number) == (2, 2)
        new = code_for(email)
        if new != old:
            assert client.approve(old).send().code == "otp_invalid"
        assert client.approve(new).send().status == 200


def test_a_resend_and_guesses_at_once_leave_one_code_and_its_budget(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        user = new_user()
        client, challenge = challenged(browser, email_of(user))
        OTPChallenge.objects.filter(pk=challenge.pk).update(resend_at=timezone.now() - timedelta(seconds=1))
        old = code_for(email_of(user))
        calls = [client.resend(), *(client.approve(wrong_code_beside(old, step)) for step in range(1, 16))]
        counted: Counter[str] = statuses(at_once(calls))

        assert sum(counted.values()) == 16
        assert counted["401 otp_invalid"] == 5, counted
        assert counted["401 challenge_invalid"] + counted["202"] == 11
        challenge.refresh_from_db()
        assert challenge.attempts == 5
        assert client.approve(code_for(email_of(user))).send().code == "challenge_invalid"
