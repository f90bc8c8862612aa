"""Limits of the endpoints: who is counted, who is not, and what a refusal says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, make_user, named, session_of, trust

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


def _statuses(browser: Browser, count: int, **login: Any) -> list[int]:
    return [browser.login(**{"password": "wrong", **login}).status_code for _ in range(count)]


@pytest.mark.control("ASVS-6.3.1", "RATELIMIT-3", "RATELIMIT-4", "RATELIMIT-6", "TOP10-A07:2025")
def test_a_refusal_names_its_limit_and_the_wait(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_account": "2/15m"})
    make_user()
    assert _statuses(browser, 3) == [401, 401, 429]
    response = browser.login()
    assert response.status_code == 429
    assert code_of(response) == "rate_limited"
    wait = int(response["Retry-After"])
    assert 1 <= wait <= 900 + 450  # this window, and half of the next, until one of the two has slid out
    assert response["RateLimit-Policy"] == '"login_account";q=2;w=900'
    assert re.fullmatch(rf'"login_account";r=0;t=({wait}|{wait + 1}|{wait - 1})', response["RateLimit"])
    (event,) = named("excess_rate_limit_exceeded")  # the first refusal of a window, not each
    assert event.details["limit"] == "login_account"


def test_a_block_ends_and_hammering_does_not_prolong_it(browser: Browser, configure: Configure, clock: Any) -> None:
    """R9, R14: a block always ends, however often somebody knocks meanwhile."""
    configure(RATE_LIMITS={"login_account": "1/15m"})
    make_user()
    assert _statuses(browser, 5) == [401, 429, 429, 429, 429]
    wait = int(browser.login()["Retry-After"])
    clock.forward(seconds=wait + 1)
    assert browser.login().status_code == 202


def test_spelling_does_not_make_a_new_counter(browser: Browser, configure: Configure) -> None:
    """R12: blanks, case and full-width letters count for the same account."""
    configure(RATE_LIMITS={"login_account": "3/15m"})
    make_user()
    spellings = ["ana@example.com", " ANA@example.com", "ａna@example.com ", "Ana@Example.Com"]
    assert [browser.login(name, "wrong").status_code for name in spellings] == [401, 401, 401, 429]


def test_an_accent_is_another_counter(browser: Browser, configure: Configure) -> None:
    """R12: `ána` shares neither account nor counter with `ana`."""
    configure(RATE_LIMITS={"login_account": "1/15m"})
    make_user()
    assert _statuses(browser, 1) == [401]
    assert browser.login("ána@example.com", "wrong").status_code == 401
    assert browser.login("ana@example.com", "wrong").status_code == 429


def test_strangers_share_one_budget_from_wherever_they_come(configure: Configure) -> None:
    configure(RATE_LIMITS={"login_account": "3/15m"})
    make_user()
    statuses = [Browser(address=f"198.51.100.{number}").login(password="wrong").status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_a_stranger_cannot_use_up_a_trusted_devices_budget(browser: Browser, configure: Configure) -> None:
    """R9: locking by name would let anybody lock anybody out."""
    configure(RATE_LIMITS={"login_account": "3/15m", "login_address": "3/15m"})
    user = make_user()
    trust(browser, user)
    stranger = Browser()  # behind the same address
    assert _statuses(stranger, 5)[-1] == 429
    assert browser.login(password="wrong").status_code == 401
    assert browser.login().status_code == 200


def test_a_trusted_device_has_a_limit_too(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_device": "2/15m"})
    user = make_user()
    trust(browser, user)
    assert _statuses(browser, 3) == [401, 401, 429]
    assert Browser().login().status_code == 202  # a stranger with the right password is not affected


def test_a_copied_device_cookie_shares_the_devices_budget(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_device": "2/15m"})
    trust(browser, make_user())
    copies = [browser.copy("device") for _ in range(3)]
    assert [copy.login(password="wrong").status_code for copy in copies] == [401, 401, 429]


def test_success_gives_back_its_own_attempt_only(configure: Configure) -> None:
    """R11: a right password refunds its own account, and not the attempts on others from the same address."""
    configure(RATE_LIMITS={"login_account": "2/15m", "login_address": "4/15m"})
    make_user()
    make_user("ben@example.com")
    office = Browser()
    assert office.login("ben@example.com", "wrong").status_code == 401
    for _ in range(5):  # each success is given back, so that these count for nothing
        assert Browser().login().status_code == 202
    assert office.login("ben@example.com", "wrong").status_code == 401
    assert office.login("ben@example.com", "wrong").status_code == 429
    assert Browser().login().status_code == 202


def test_one_accounts_lock_is_not_anothers(configure: Configure) -> None:
    """R11: two users behind one address."""
    configure(RATE_LIMITS={"login_account": "1/15m"})
    make_user()
    make_user("ben@example.com")
    browser = Browser()
    assert _statuses(browser, 2) == [401, 429]
    assert browser.login("ben@example.com").status_code == 202


def test_an_address_has_a_limit_over_all_accounts(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_address": "3/15m"})
    names = [f"user{number}@example.com" for number in range(5)]
    assert [browser.login(name, "wrong").status_code for name in names] == [401, 401, 401, 429, 429]
    assert Browser(address="198.51.100.7").login("other@example.com", "wrong").status_code == 401


def test_ipv6_counts_by_the_network_of_one_customer(configure: Configure) -> None:
    """R13: an IPv6 host has 2^64 addresses to send from."""
    configure(RATE_LIMITS={"login_address": "2/15m"})
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3", "2001:db8:1:3::1"]
    statuses = [
        Browser(address=address).login(f"u{number}@example.com", "wrong").status_code
        for number, address in enumerate(addresses)
    ]
    assert statuses == [401, 401, 429, 401]


def test_a_forwarded_address_is_not_believed(configure: Configure) -> None:
    """R13: whoever writes `X-Forwarded-For` would have a limit of their own with every request."""
    configure(RATE_LIMITS={"login_address": "2/15m"})
    browser = Browser()
    statuses = [
        browser.login(f"u{number}@example.com", "wrong", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
        for number in range(3)
    ]
    assert statuses == [401, 401, 429]


@pytest.mark.control("ASVS-15.3.4")
@pytest.mark.parametrize("proxies", [1, ["10.0.0.0/8"]])
def test_behind_proxies_the_right_most_untrusted_hop_counts(configure: Configure, proxies: Any) -> None:
    """R13: the same address for limits, sessions and audit; what the client wrote to its left is not read."""
    configure(RATE_LIMITS={"login_address": "2/15m"}, TRUSTED_PROXIES=proxies)
    browser = Browser(address="10.0.0.1")
    statuses = [
        browser.login(
            f"u{number}@example.com", "wrong", headers={"X-Forwarded-For": f"1.2.3.{number}, 203.0.113.9"}
        ).status_code
        for number in range(3)
    ]
    assert statuses == [401, 401, 429]
    assert {event.ip_address for event in named("authn_login_fail")} == {"203.0.113.9"}
    make_user()
    headers = {"X-Forwarded-For": "1.1.1.1, 203.0.113.77"}
    browser.login(headers=headers)
    session = session_of(browser.approve(headers=headers))
    assert session.ip_address == "203.0.113.77"
    assert named("session_created")[0].ip_address == "203.0.113.77"


def test_codes_have_a_limit_for_each_account(configure: Configure) -> None:
    configure(RATE_LIMITS={"otp": "2/15m"})
    make_user()
    make_user("ben@example.com")
    assert [Browser().login().status_code for _ in range(3)] == [202, 202, 429]
    assert Browser().login("ben@example.com").status_code == 202


def _noise(browser: Browser) -> int:
    browser.put("refresh", "noise")  # a refusal clears the cookie
    return int(browser.refresh().status_code)


def test_noise_from_an_address_uses_up_nobody_elses_refreshes(browser: Browser, configure: Configure) -> None:
    """R18: whoever shares an address with a thousand others, or with an attacker, stays signed in."""
    configure(RATE_LIMITS={"refresh": "2/15m"})
    browsers = [Browser() for _ in range(4)]
    for number, one in enumerate(browsers):
        make_user(f"u{number}@example.com")
        one.sign_in(f"u{number}@example.com")
    assert [one.refresh().status_code for one in browsers] == [200, 200, 200, 200]
    assert [_noise(browser) for _ in range(3)] == [401, 401, 429]
    assert browsers[0].refresh().status_code == 200


def test_refreshes_have_a_limit_for_each_session(browser: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"refresh": "2/15m"})
    make_user()
    browser.sign_in()
    assert [browser.refresh().status_code for _ in range(3)] == [200, 200, 429]
    assert browser.has("refresh")  # a limit is no reason to sign anybody out
    assert Session.objects.alive().count() == 1


def test_each_window_has_a_counter_of_its_own(browser: Browser, configure: Configure) -> None:
    """R16: another rate of the same name does not share its counts."""
    make_user()
    configure(RATE_LIMITS={"login_account": "2/15m"})
    assert _statuses(browser, 3) == [401, 401, 429]
    configure(RATE_LIMITS={"login_account": "2/30m"})
    assert _statuses(browser, 1) == [401]


def test_sign_in_fails_closed_when_the_limits_cannot_count(
    browser: Browser, configure: Configure, settings: Any
) -> None:
    make_user()
    browser.sign_in()
    settings.CACHES = {
        **settings.CACHES,
        "away": {"BACKEND": "tests.stories.caches.AwayCache"},
    }
    configure(RATE_LIMIT_CACHE="away")
    response = Browser().login()
    assert response.status_code == 503
    assert code_of(response) == "state_unavailable"
    assert browser.refresh().status_code == 200  # whoever is in stays in
