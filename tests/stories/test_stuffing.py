"""Credential stuffing: many accounts from many addresses, below the limits of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.core.cache import caches

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.passwords import services
from tests.browser import PASSWORD, Browser, code_of, make_user, named, trust

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
SPRAYED = "Summer2026!"
_numbers: Iterator[int] = count(1)


def stranger() -> Browser:
    """One whose address nobody else has."""
    number = next(_numbers)
    return Browser(address=f"2001:db8:{number % 65536:x}::1")


def spray(accounts: int, password: str = SPRAYED) -> list[int]:
    """Try one password on so many accounts, each from an address of its own."""
    return [stranger().login(f"victim-{number}@example.com", password).status_code for number in range(accounts)]


def stuffing() -> list[SecurityEvent]:
    return [event for event in named("suspicious_request") if event.details["description"] == "credential_stuffing"]


# --- one password, many accounts ---------------------------------------------------------------------


@pytest.mark.control("ASVS-6.3.1")
def test_one_password_on_many_accounts_from_many_addresses_is_told_and_slowed(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_password": "4/15m"})
    assert spray(7) == [401] * 4 + [429] * 3
    (event,) = stuffing()  # once in a window
    assert (event.event_type, event.severity) == ("suspicious_request", "HIGH")
    assert event.details["limit"] == "login_password"
    assert SPRAYED not in str(event.details)
    refused = stranger().login("victim-99@example.com", SPRAYED)
    assert code_of(refused) == "rate_limited"
    assert int(refused["Retry-After"]) >= 1


def test_known_and_unknown_accounts_are_slowed_alike_and_the_right_password_is_no_exception(
    configure: Configure,
) -> None:
    """Else the sprayed password that is let through would be the right one."""
    configure(RATE_LIMITS={"login_password": "4/15m"})
    make_user(password=SPRAYED)
    spray(4)
    for email in ("ana@example.com", "nobody@example.com"):
        refused = stranger().login(email, SPRAYED)
        assert (refused.status_code, refused["RateLimit-Policy"]) == (429, '"login_password";q=4;w=900')


def test_a_trusted_device_signs_in_with_a_password_that_is_being_sprayed(
    browser: Browser, configure: Configure
) -> None:
    configure(RATE_LIMITS={"login_password": "4/15m"})
    make_user(password=SPRAYED)
    browser.sign_in("ana@example.com", SPRAYED)
    browser.logout()
    assert spray(5)[-1] == 429
    assert browser.login(password=SPRAYED).status_code == 200


def test_other_passwords_are_not_slowed(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_password": "4/15m"})
    make_user()
    spray(5)
    assert stranger().login().status_code == 202
    assert stranger().login(password="another wrong one").status_code == 401


def test_a_class_that_signs_in_with_the_same_right_password_is_no_attack(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_password": "4/15m"})
    for number in range(6):
        make_user(f"pupil-{number}@example.com", "the password that all were given")
    for number in range(6):
        answer = stranger().login(f"pupil-{number}@example.com", "the password that all were given")
        assert answer.status_code == 202
    assert stuffing() == []


def test_one_account_counts_once_however_often_it_mistypes(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_password": "2/15m"})
    make_user()
    assert [stranger().login(password=SPRAYED).status_code for _ in range(5)] == [401] * 5
    assert stuffing() == []


def test_one_password_in_two_forms_is_one(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_password": "2/15m"})
    assert spray(1, "Z\u00fcrich 2026 Sommer") == [401]
    assert stranger().login("other@example.com", "Zu\u0308rich 2026 Sommer").status_code == 401
    assert stranger().login("third@example.com", "Z\u00fcrich 2026 Sommer").status_code == 429


def test_the_slowing_ends(configure: Configure, clock: Any) -> None:
    """R14: a block always ends."""
    configure(RATE_LIMITS={"login_password": "1/15m"})
    spray(2)
    wait = int(stranger().login("victim-9@example.com", SPRAYED)["Retry-After"])
    clock.forward(seconds=wait + 1)
    assert stranger().login("victim-9@example.com", SPRAYED).status_code == 401


def test_no_password_and_no_digest_that_the_cache_alone_could_be_searched_for_is_kept(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    first = services._fingerprint(SPRAYED)
    assert len(first) == 16
    assert services._fingerprint(SPRAYED) == first != services._fingerprint("another")
    keys: list[str] = []
    for verb in ("add", "set", "get", "incr"):
        cache = type(caches["default"])
        honest = getattr(cache, verb)

        def noted(self: Any, key: str, *rest: Any, _honest: Any = honest, **named: Any) -> Any:
            keys.append(f"{key} {rest}")
            return _honest(self, key, *rest, **named)

        monkeypatch.setattr(cache, verb, noted)
    spray(2)
    assert keys
    assert not any(SPRAYED in key or "victim" in key or first in key for key in keys)
    settings.SECRET_KEY = "another key, which is as long as it has to be for this"
    assert services._fingerprint(SPRAYED) != first


# --- many passwords, many accounts -------------------------------------------------------------------


def leaked(attempts: int, start: int = 0) -> list[int]:
    """Each account's own password, as a leak of another site names it, from an address of its own."""
    return [
        stranger().login(f"leaked-{number}@example.com", f"its password {number}").status_code
        for number in range(start, start + attempts)
    ]


def test_many_failures_of_the_whole_site_are_told_and_close_nothing(configure: Configure) -> None:
    """A site that closed would be closed by whoever sends enough wrong passwords."""
    configure(RATE_LIMITS={"login_site": "5/15m", "login_address_alarm": "1/15m"})
    make_user()
    assert leaked(9) == [401] * 9
    (event,) = stuffing()
    assert event.details["limit"] == "login_site"
    assert stranger().login().status_code == 202


def test_meanwhile_an_address_has_fewer_tries_than_usual(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_site": "5/15m", "login_address_alarm": "2/15m"})
    user = make_user()
    trust(browser, user)
    one = Browser(address="198.51.100.7")
    assert [one.login("a@example.com", f"wrong {number}").status_code for number in range(4)] == [401] * 4
    leaked(5)
    answers = [one.login(f"b{number}@example.com", f"wrong {number}") for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
    assert answers[-1]["RateLimit-Policy"] == '"login_address_alarm";q=2;w=900'
    assert stranger().login().status_code == 202  # others are judged
    assert browser.login().status_code == 200


def test_those_who_sign_in_are_not_counted_as_an_attack(configure: Configure) -> None:
    configure(OTP_POLICY="never", RATE_LIMITS={"login_site": "2/15m"})
    for number in range(5):
        make_user(f"user-{number}@example.com")
        assert stranger().login(f"user-{number}@example.com", PASSWORD).status_code == 200
    assert stuffing() == []


def test_one_address_that_hammers_does_not_raise_the_alarm(configure: Configure) -> None:
    """What its own limit refuses is not counted for the site: the alarm is about many addresses."""
    configure(RATE_LIMITS={"login_address": "3/15m", "login_site": "5/15m"})
    one = Browser(address="198.51.100.8")
    for number in range(9):
        one.login(f"c{number}@example.com", f"wrong {number}")
    assert stuffing() == []
