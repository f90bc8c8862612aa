"""`activity/`: what happened to the account, for its owner alone."""

from __future__ import annotations

from typing import Any

import pytest

from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.testing import sign_in
from tests.browser import Browser, code_of, make_user, session_of, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ana() -> Any:
    return make_user("ana@example.com")


def test_it_shows_what_happened_newest_first_and_nothing_of_others(browser: Browser, ana: Any) -> None:
    ben = make_user("ben@example.com")
    record(events.LOGIN_FAIL, user=ben, ip_address="203.0.113.9")
    Browser(address="203.0.113.7").login(password="wrong")
    opened = session_of(browser.sign_in())
    record(events.ADMIN_CHANGE, user=ana, actor=ben, change="distrusted")
    answer = browser.get("activity")
    assert answer.status_code == 200
    rows = answer.json()["results"]
    assert [row["event"] for row in rows][:2] == ["authz_admin", "authn_login_success"]
    assert rows[0]["by_somebody_else"] is True
    assert rows[1] == {
        "at": rows[1]["at"], "event": "authn_login_success", "message": "Signed in", "session": str(opened.pk),
        "device": "Firefox on Linux", "ip_address": "192.0.2.1", "place": None, "by_somebody_else": False,
    }  # fmt: skip
    assert [row["ip_address"] for row in rows if row["event"] == "authn_login_fail"] == ["203.0.113.7"]


def test_pages_are_followed_by_their_cursor(browser: Browser, ana: Any) -> None:
    sign_in(browser.client, ana)
    for number in range(60):
        record(events.LOGIN_FAIL, user=ana, number=number)
    first = browser.get("activity").json()
    assert len(first["results"]) == 50
    assert first["previous"] is None
    second = browser.request("GET", first["next"]).json()
    assert second["next"] is None
    assert len(second["results"]) == SecurityEvent.objects.filter(user_id=str(ana.pk)).count() - 50


def test_a_cursor_of_nonsense_is_not_found(browser: Browser, ana: Any) -> None:
    sign_in(browser.client, ana)
    answer = browser.request("GET", f"{url('activity')}?cursor=x")
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


def test_strangers_see_nothing(browser: Browser) -> None:
    assert code_of(browser.get("activity")) == "not_authenticated"
