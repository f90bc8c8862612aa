"""`register/`: an address is proven, then there is an account; nobody learns who has one already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from django_secure_auth.accounts.tasks import purge
from django_secure_auth.addresses.models import AddressClaim
from django_secure_auth.otp.models import OTPChallenge, TrustedDevice
from django_secure_auth.otp.policy import code_of as derived_code
from django_secure_auth.passwords.services import find_account
from tests.browser import PASSWORD, Browser, Clock, code_of, is_signed_in, last_code, make_user, named, wrong_code

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
NEW = "new@example.com"


def register(browser: Browser, email: str = NEW, password: str = PASSWORD, **fields: Any) -> Any:
    return browser.post("register", {"email": email, "password": password, **fields})


def verify(browser: Browser, code: str | None = None) -> Any:
    return browser.post("register-verify", {"otp_code": code or last_code()})


@pytest.mark.control("ASVS-6.2.1", "CS-Email-verify")
def test_the_address_is_proven_and_then_there_is_an_account(browser: Browser) -> None:
    asked = register(browser)
    assert asked.status_code == 202
    assert asked.json()["status"] == "otp_required"
    assert asked.json()["challenge"]["purpose"] == "register"
    assert find_account(NEW) is None
    assert code_of(Browser().login(NEW)) == "invalid_credentials"
    answer = verify(browser)
    assert answer.status_code == 200
    assert answer.json()["user"]["email"] == NEW
    assert answer.json()["session"]["amr"] == ["pwd", "email"]
    assert is_signed_in(browser)
    assert not browser.has("challenge")
    assert TrustedDevice.objects.get().is_approved
    assert named("user_created")
    assert OTPChallenge.objects.get().payload == {}
    browser.logout()
    assert browser.login(NEW).status_code == 200  # the device is trusted
    assert NEW not in str(AddressClaim.objects.values())


def test_any_code_goes_to_approve_as_well(browser: Browser) -> None:
    register(browser)
    assert browser.approve().status_code == 200
    assert is_signed_in(browser)


def test_a_taken_address_is_answered_alike_and_told_by_mail(browser: Browser) -> None:
    make_user(NEW)
    free, taken = register(browser, "free@example.com"), register(Browser(), NEW)
    assert (free.status_code, taken.status_code) == (202, 202)
    bodies = [answer.json() for answer in (free, taken)]
    for body in bodies:
        assert body["challenge"].pop("sent_to") in {"f***@example.com", "n***@example.com"}
        for name in ("id", "expires_at", "resend_at"):
            assert body["challenge"].pop(name)
    assert bodies[0] == bodies[1]
    assert free.headers.keys() == taken.headers.keys()
    told = mail.outbox[-1]
    assert told.to == [NEW]
    assert "already" in str(told.body)
    assert OTPChallenge.objects.count() == 2


def test_a_taken_address_makes_the_request_no_other_work() -> None:
    make_user(NEW)
    traces = []
    for email in ("warm@example.com", "free@example.com", NEW):
        browser = Browser()
        browser.csrf()
        with CaptureQueriesContext(connection) as queries:
            register(browser, email)
        until_mail = [query["sql"] for query in queries.captured_queries]
        traces.append([sql.split(" ")[0] for sql in until_mail])
    assert traces[1] == traces[2]


def test_no_code_of_a_taken_address_opens_anything(browser: Browser) -> None:
    make_user(NEW, "the owner's pass phrase")
    register(browser)
    with pytest.raises(Exception, match=r"[Cc]ode|mail"):
        last_code()
    challenge = OTPChallenge.objects.get()
    assert code_of(verify(browser, derived_code(challenge))) == "challenge_invalid"
    assert Browser().login(NEW, "the owner's pass phrase").status_code == 202
    assert get_user_model()._default_manager.count() == 1


def test_the_password_of_the_approved_registration_counts() -> None:
    """A stranger who registers an address first prepares nothing for its owner."""
    stranger, owner = Browser(address="203.0.113.9"), Browser()
    register(stranger, password="the stranger's pass phrase")
    register(owner, password="the owner's pass phrase")
    assert verify(owner).status_code == 200
    assert code_of(Browser().login(NEW, "the stranger's pass phrase")) == "invalid_credentials"
    assert Browser().login(NEW, "the owner's pass phrase").status_code == 202


def test_of_two_registrations_one_becomes_an_account() -> None:
    first, second = Browser(), Browser()
    register(first)
    code = last_code()
    register(second)
    assert verify(second).status_code == 200
    assert code_of(verify(first, code)) == "challenge_invalid"
    assert get_user_model()._default_manager.count() == 1


@pytest.mark.control("NIST-63B-3.1.1.2-c")
def test_a_weak_password_is_refused_with_reasons(browser: Browser, settings: Any) -> None:
    validation = "django.contrib.auth.password_validation"
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"{validation}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
        {
            "NAME": f"{validation}.UserAttributeSimilarityValidator",
            "OPTIONS": {"user_attributes": (get_user_model().get_email_field_name(),)},
        },
    ]
    answer = register(browser, password="new@example")
    assert (answer.status_code, code_of(answer)) == (422, "password_rejected")
    assert len(answer.json()["errors"]["password"]) == 2
    assert not OTPChallenge.objects.exists()
    assert not mail.outbox


def test_a_wrong_code_is_counted(browser: Browser) -> None:
    register(browser)
    left = [verify(browser, wrong_code()).json().get("attempts_left") for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    assert code_of(verify(browser)) == "challenge_invalid"
    assert find_account(NEW) is None


def test_a_code_can_be_sent_again(browser: Browser, clock: Any) -> None:
    register(browser)
    first = last_code()
    clock.forward(seconds=31)
    assert browser.resend().status_code == 202
    assert last_code() != first
    assert verify(browser).status_code == 200


def test_the_code_is_bound_to_the_browser(browser: Browser) -> None:
    register(browser)
    assert code_of(verify(Browser())) == "challenge_invalid"


@pytest.mark.control("ASVS-2.3.1")
def test_a_sign_in_code_does_not_verify_and_opens_nothing_here(browser: Browser) -> None:
    make_user()
    browser.login()
    assert code_of(verify(browser)) == "challenge_invalid"


def test_registration_can_be_closed(browser: Browser, configure: Configure) -> None:
    configure(REGISTRATION_OPEN=False)
    answer = register(browser)
    assert (answer.status_code, code_of(answer)) == (403, "permission_denied")
    assert not mail.outbox


def test_a_project_may_refuse_addresses(browser: Browser, configure: Configure) -> None:
    configure(ADDRESS_POLICY=lambda address: None if address.endswith("@example.com") else "Not one of us.")
    answer = register(browser, "eve@throwaway.example")
    assert (answer.status_code, code_of(answer)) == (422, "policy_rejected")
    assert answer.json()["errors"] == {"email": ["Not one of us."]}
    assert register(browser).status_code == 202


@pytest.mark.parametrize(
    "email",
    [
        "",
        "x",
        "a@b",
        "a b@example.com",
        "a@example.com\n",
        "x" * 250 + "@example.com",
        5,
        "a@\ufdfa.example",
        "a@" + "\u338f" * 120 + ".example",
        "\ufb03@example.com",
        "a@x.example " + " " * 300,
    ],
)
def test_what_is_no_address_is_refused(browser: Browser, email: Any) -> None:
    assert register(browser, email).status_code == 400
    assert not OTPChallenge.objects.exists()


def test_further_fields_are_those_of_the_setting(browser: Browser, configure: Configure) -> None:
    assert register(browser, first_name="Ana").status_code == 400
    assert register(browser, is_staff=True).status_code == 400
    model: Any = get_user_model()
    if "first_name" not in {field.name for field in model._meta.get_fields()}:
        return
    configure(REGISTRATION_FIELDS=["first_name"])
    assert register(browser, first_name="Ana").status_code == 202
    assert verify(browser).status_code == 200
    assert model._default_manager.get().first_name == "Ana"


def test_a_unique_field_of_the_projects_own_that_is_taken_is_a_refusal(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(self: Any, **_: Any) -> None:
        raise IntegrityError

    register(browser)
    monkeypatch.setattr(get_user_model(), "save", taken)
    assert code_of(verify(browser)) == "challenge_invalid"


def test_what_was_never_approved_is_forgotten_when_it_is_over(browser: Browser, clock: Any) -> None:
    register(browser)
    purge()
    assert OTPChallenge.objects.get().payload["password"]
    clock.forward(minutes=11)
    purge()
    assert OTPChallenge.objects.get().payload == {}


def test_a_claim_says_what_it_is_for() -> None:
    assert str(AddressClaim(key="0123456789")) == "claim 01234567"


def test_registrations_are_limited_for_an_address(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"register": "2/h"})
    statuses = [register(browser, f"u{number}@example.com").status_code for number in range(3)]
    assert statuses == [202, 202, 429]


def test_an_account_that_is_made_meanwhile_wins(browser: Browser) -> None:
    register(browser)
    make_user(NEW)
    assert code_of(verify(browser)) == "challenge_invalid"


@pytest.mark.control("ASVS-6.6.4")
def test_a_strangers_mailbox_is_not_flooded() -> None:
    """From many addresses too: what is counted is the mailbox, whether it has an account or not."""
    make_user("victim@example.com")
    for victim in ("victim@example.com", "nobody@example.com"):
        answers = [
            Browser(address=f"198.51.100.{number}").post("register", {"email": victim, "password": PASSWORD})
            for number in range(12)
        ]
        assert [answer.status_code for answer in answers] == [202] * 10 + [429] * 2
        assert len([letter for letter in mail.outbox if letter.to == [victim]]) == 10


@pytest.mark.control("ASVS-6.4.1")
def test_the_code_lives_for_minutes_works_once_and_is_never_a_password(browser: Browser, clock: Clock) -> None:
    register(browser)
    clock.forward(minutes=5, seconds=1)
    assert code_of(verify(browser)) == "challenge_invalid"
    register(browser)
    code, again = last_code(), browser.copy("challenge")
    assert verify(browser, code).status_code == 200
    assert code_of(verify(again, code)) == "challenge_invalid"
    assert code_of(Browser().login(NEW, password=code)) == "invalid_credentials"
    assert get_user_model()._default_manager.get().check_password(PASSWORD)
