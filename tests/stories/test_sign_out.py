"""Sign-out, and the list of sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.permissions import IsAuthenticated

from django_secure_auth.me.views import SessionListView
from django_secure_auth.sessions.models import Session
from django_secure_auth.tokens.cookies import mount_point
from tests.browser import (
    Browser,
    cleared,
    code_of,
    cookie,
    is_signed_in,
    make_user,
    named,
    session_of,
    url,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


@pytest.mark.control(
    "ASVS-7.4.1",
    "ASVS-14.3.1",
    "CLEARSITEDATA-logout",
    "LOGVOC-session_use_after_expire",
    "NIST-63B-5.1-b",
    "OSHP-Clear-Site-Data",
)
def test_sign_out_ends_the_session_and_clears_the_browser(signed_in: Browser) -> None:
    """R27: the access token is dead at once, though it has not expired."""
    tab = signed_in.copy("access", "refresh")
    response = signed_in.logout()
    assert response.status_code == 204
    assert response.content == b""
    assert response["Clear-Site-Data"] == '"cache", "storage"'
    assert response["Cache-Control"] == "no-store"
    assert cleared(response) == {
        (cookie("access"), "/"),
        (cookie("refresh"), mount_point()),
        (cookie("challenge"), "/"),
    }
    for morsel in response.cookies.values():  # a `__Host-` cookie is deleted only by one with its attributes
        assert morsel["secure"] is True
        assert morsel["httponly"] is True
    assert code_of(tab.me()) == "session_revoked"
    assert code_of(tab.refresh()) == "session_revoked"
    assert Session.objects.get().revoked_reason == "sign_out"
    assert named("session_use_after_expire")


def test_the_device_stays_trusted(signed_in: Browser) -> None:
    signed_in.logout()
    assert signed_in.has("device")
    assert signed_in.login().status_code == 200


def test_sign_out_is_idempotent(browser: Browser) -> None:
    first = browser.logout()
    assert first.status_code == 204
    assert browser.logout().status_code == 204
    assert not named("authn_token_revoked")


def test_signing_out_twice_records_one_end(signed_in: Browser) -> None:
    tab = signed_in.copy("access", "refresh")
    signed_in.logout()
    assert tab.logout().status_code == 204
    assert len(named("authn_token_revoked")) == 1


def test_sign_out_closes_the_open_challenge(browser: Browser) -> None:
    make_user()
    browser.login()
    kept = browser.copy("challenge")
    browser.logout()
    assert code_of(kept.approve()) == "challenge_invalid"


def test_sign_out_by_the_access_cookie_alone(signed_in: Browser) -> None:
    signed_in.drop("refresh")
    signed_in.logout()
    assert Session.objects.get().revoked_reason == "sign_out"


def test_sign_out_with_an_expired_access_cookie(signed_in: Browser, clock: Any) -> None:
    """Signing out late is allowed; a 401 would leave the session alive."""
    signed_in.drop("refresh")
    clock.forward(minutes=6)
    assert signed_in.logout().status_code == 204
    assert Session.objects.get().revoked_reason == "sign_out"


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_sign_out_with_noise_in_the_cookie(browser: Browser, kind: str) -> None:
    browser.csrf()
    browser.put(kind, "noise")
    assert browser.logout().status_code == 204
    assert not browser.has(kind)


def test_sign_out_by_bearer_needs_no_csrf(signed_in: Browser) -> None:
    app = Browser()
    response = app.logout(csrf=False, headers={"Authorization": f"Bearer {signed_in.value('access')}"})
    assert response.status_code == 204
    assert not is_signed_in(signed_in)


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Bearer a b"])
def test_a_garbled_bearer_signs_nobody_out(signed_in: Browser, header: str) -> None:
    response = signed_in.logout(headers={"Authorization": header})
    assert code_of(response) == "token_invalid"
    assert is_signed_in(signed_in)


@pytest.mark.parametrize("header", [{"Authorization": "Basic YTpi"}, {"X-API-Key": "k"}])
def test_a_foreign_credential_does_not_fall_back_to_the_cookie_at_sign_out(
    signed_in: Browser, header: dict[str, str]
) -> None:
    """An answer of 204 would tell somebody that they are out, and leave the session alive."""
    response = signed_in.logout(headers=header)
    assert response.status_code == 401
    assert signed_in.has("refresh")
    assert is_signed_in(signed_in)


# --- the list


@pytest.mark.control("ASVS-7.5.2")
def test_the_list_shows_living_sessions_and_marks_the_present_one(signed_in: Browser) -> None:
    edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36 Edg/120.0"
    laptop = Browser(address="198.51.100.7", user_agent=edge)
    laptop.sign_in()
    gone = Browser()
    gone.sign_in()
    gone.logout()
    body = signed_in.get("session-list").json()
    assert body.keys() == {"results", "next", "previous"}
    assert [(row["device"], row["ip_address"], row["current"]) for row in body["results"]] == [
        ("Edge on Windows", "198.51.100.7", False),
        ("Firefox on Linux", "192.0.2.1", True),
    ]
    assert "last_seen_at" in body["results"][0]


def test_the_list_has_pages(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_secure_auth.me.views._Pages.page_size", 1)
    Browser().sign_in()
    first = signed_in.get("session-list").json()
    assert len(first["results"]) == 1
    assert first["next"].endswith("?page=2")
    second = signed_in.request("GET", first["next"]).json()
    assert second["previous"]
    assert second["results"][0]["current"] is True
    assert code_of(signed_in.request("GET", first["next"].replace("page=2", "page=x"))) == "not_found"


def test_other_sessions_end_and_this_one_stays(signed_in: Browser) -> None:
    others = [Browser(), Browser()]
    for other in others:
        other.sign_in()
    response = signed_in.delete("session-list")
    assert response.status_code == 204
    assert is_signed_in(signed_in)
    assert not any(is_signed_in(other) for other in others)
    assert Session.objects.filter(revoked_reason="ended_by_user").count() == 2


@pytest.mark.control("ASVS-10.4.9")
def test_one_session_ends(signed_in: Browser) -> None:
    other = Browser()
    session = session_of(other.sign_in())
    assert signed_in.delete("session-detail", session.pk).status_code == 204
    assert not is_signed_in(other)
    assert code_of(other.refresh()) == "session_revoked"
    assert is_signed_in(signed_in)
    assert code_of(signed_in.delete("session-detail", session.pk)) == "not_found"


def test_ending_the_present_session_clears_its_cookies(signed_in: Browser) -> None:
    session = Session.objects.get()
    response = signed_in.delete("session-detail", session.pk)
    assert {name for name, _ in cleared(response)} == {cookie("access"), cookie("refresh")}
    assert code_of(signed_in.me()) == "not_authenticated"


@pytest.mark.control("LOGVOC-malicious_direct_reference", "LOGVOC-authz_fail", "ASVS-16.3.2")
def test_a_foreign_session_does_not_exist(signed_in: Browser) -> None:
    """R36: the trail names who asked, and what for; outside, a foreign id is one that nobody has."""
    mine = Session.objects.get()
    make_user("ben@example.com")
    ben = Browser()
    foreign = session_of(ben.sign_in("ben@example.com"))
    unknown = uuid4()
    assert code_of(signed_in.delete("session-detail", foreign.pk)) == "not_found"
    assert code_of(signed_in.delete("session-detail", unknown)) == "not_found"
    assert is_signed_in(ben)
    told = named("authz_fail")
    assert [event.details for event in told] == [
        {"resource": url("session-detail", pk), "reason": "not_found"} for pk in (foreign.pk, unknown)
    ]
    for event in told:
        assert (event.user_id, event.actor_id, event.session_id) == (str(mine.user_id), str(mine.user_id), str(mine.pk))
        assert event.severity == "MEDIUM"
    signed_in.delete("session-list")
    assert is_signed_in(ben)


def test_a_foreign_session_costs_what_an_unknown_one_costs(signed_in: Browser) -> None:
    make_user("ben@example.com")
    foreign = session_of(Browser().sign_in("ben@example.com"))
    for _ in range(2):  # the first request of a session writes last-seen, and drops what a cache knew
        signed_in.me()
    statements = []
    for pk in (foreign.pk, uuid4()):
        with CaptureQueriesContext(connection) as captured:
            signed_in.delete("session-detail", pk)
        statements.append([query["sql"].partition(" ")[0] for query in captured])
    assert statements[0] == statements[1]


@pytest.mark.control("ASVS-7.5.1", "LOGVOC-authz_fail")
def test_ending_sessions_needs_a_recent_proof(signed_in: Browser, clock: Any) -> None:
    other = session_of(Browser().sign_in())
    clock.forward(minutes=4, seconds=59)
    signed_in.refresh()
    clock.forward(seconds=2)
    for response in (signed_in.delete("session-list"), signed_in.delete("session-detail", other.pk)):
        assert response.status_code == 403
        assert code_of(response) == "step_up_required"
    told = named("authz_fail")
    assert [event.details for event in told] == [
        {"resource": path, "reason": "step_up_required", "required_proof": ["recent"]}
        for path in (url("session-list"), url("session-detail", other.pk))
    ]
    assert {event.user_id for event in told} == {str(other.user_id)}
    assert signed_in.get("session-list").status_code == 200
    assert Session.objects.alive().count() == 2


def test_a_refusal_of_a_permission_is_told(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionListView, "get_permissions", lambda _: [(~IsAuthenticated)()])
    assert code_of(signed_in.get("session-list")) == "permission_denied"
    (event,) = named("authz_fail")
    assert event.details == {"resource": url("session-list"), "reason": "permission_denied"}


def test_a_refusal_for_another_reason_is_no_refused_access(signed_in: Browser) -> None:
    """A missing CSRF token has an event of its own, and who is not signed in is nobody yet."""
    assert code_of(signed_in.delete("session-list", csrf=False)) == "csrf_failed"
    assert code_of(Browser().get("session-list")) == "not_authenticated"
    assert not named("authz_fail")
    assert named("malicious_csrf")


@pytest.mark.parametrize("name", ["session-list", "session-detail"])
def test_ending_sessions_takes_no_body(signed_in: Browser, name: str) -> None:
    args = [Session.objects.get().pk] if name == "session-detail" else []
    response = signed_in.delete(name, *args, body={"all": True})
    assert code_of(response) == "validation_error"
    assert response.json()["errors"] == {"all": ["Unknown field."]}


def test_a_stranger_sees_no_list(browser: Browser) -> None:
    for response in (browser.get("session-list"), browser.delete("session-list")):
        assert code_of(response) == "not_authenticated"
        assert response["WWW-Authenticate"] == "Bearer"


def test_an_idle_session_is_not_listed(signed_in: Browser) -> None:
    other = session_of(Browser().sign_in())
    Session.objects.filter(pk=other.pk).update(idle_at=other.created_at - timedelta(hours=1))
    assert len(signed_in.get("session-list").json()["results"]) == 1


def test_what_another_password_has_ended_is_not_listed(signed_in: Browser) -> None:
    """The list shows what a next request would find alive; what is over cannot be ended, as everywhere."""
    over = Session.objects.get()
    user = over.user
    other_hash = make_password("another long password")  # an UPDATE of the project's own, which saves nobody
    get_user_model()._default_manager.filter(pk=user.pk).update(password=other_hash)
    assert code_of(signed_in.me()) == "session_revoked"
    browser, other = Browser(), Browser()
    for one in (browser, other):
        one.sign_in(password="another long password")
    assert Session.objects.alive().count() == 3
    assert [row["id"] for row in browser.get("session-list").json()["results"]] == [
        str(pk) for pk in Session.objects.exclude(pk=over.pk).order_by("-created_at").values_list("pk", flat=True)
    ]
    assert code_of(browser.delete("session-detail", over.pk)) == "not_found"


def test_a_better_hash_of_the_same_password_ends_nothing_and_hides_nothing(signed_in: Browser, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    other = Browser()
    other.sign_in()
    assert len(signed_in.get("session-list").json()["results"]) == 2


def test_sign_out_takes_no_field(signed_in: Browser) -> None:
    assert code_of(signed_in.logout(body={"all": True})) == "validation_error"
    assert is_signed_in(signed_in)


@pytest.mark.control("OSHP-Clear-Site-Data")
def test_only_signing_out_clears_the_sites_data(browser: Browser) -> None:
    make_user()
    answers = [browser.get("csrf"), browser.login(), browser.approve(), browser.me(), browser.refresh()]
    answers += [browser.get("session-list"), browser.delete("session-list"), browser.login(password="wrong")]
    answers += [Browser().me(), Browser().refresh()]
    assert not [answer for answer in answers if "Clear-Site-Data" in answer.headers]
    assert "Clear-Site-Data" in browser.logout().headers
