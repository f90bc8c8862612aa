"""Tokens in bodies: off, unless a project and its client ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, last_code, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
BODY = {"X-Token-Transport": "body"}


class App:
    """A mobile app: no cookies, no CSRF."""

    def __init__(self) -> None:
        self.browser = Browser()

    def post(self, name: str, body: Any = None, **headers: str) -> Any:
        self.browser.client.cookies.clear()
        return self.browser.post(name, body, csrf=False, headers={**BODY, **headers})

    def login(self, **more: Any) -> Any:
        return self.post("login", {"email": "ana@example.com", "password": "correct horse battery staple", **more})

    def sign_in(self) -> dict[str, Any]:
        challenge = self.login().json()["challenge_token"]
        response = self.post("otp-approve", {"otp_code": last_code(), "challenge_token": challenge})
        assert response.status_code == 200, response.content
        body: dict[str, Any] = response.json()
        return body


@pytest.fixture
def app(configure: Configure) -> App:
    configure(ALLOW_TOKEN_IN_BODY=True)
    make_user()
    return App()


@pytest.mark.control("ASVS-10.1.1")
@pytest.mark.parametrize("header", [BODY, {}])
def test_it_is_off_by_default(browser: Browser, header: dict[str, str]) -> None:
    """R5: no token in any body, whatever the client sends."""
    make_user()
    asked = browser.login(headers=header)
    opened = browser.approve(headers=header)
    refreshed = browser.refresh(headers=header)
    for response in (asked, opened, refreshed):
        assert response.status_code in {200, 202}
        assert "token" not in response.content.decode()
        assert response.cookies


def test_off_means_that_the_header_does_not_lift_csrf(browser: Browser) -> None:
    """R6: the header alone opens nothing."""
    make_user()
    assert code_of(browser.login(csrf=False, headers=BODY)) == "csrf_failed"


@pytest.mark.parametrize("name", ["device_token", "challenge_token", "refresh_token"])
def test_off_means_that_its_fields_are_unknown(browser: Browser, name: str) -> None:
    make_user()
    body = {"email": "ana@example.com", "password": "x", name: "x"}
    assert code_of(browser.post("login", body)) == "validation_error"
    assert code_of(browser.post("otp-approve", {"otp_code": "123456", name: "x"})) == "validation_error"
    assert code_of(browser.post("otp-resend", {name: "x"})) == "validation_error"
    assert code_of(browser.post("refresh", {name: "x"})) == "validation_error"


def test_the_whole_story_without_a_cookie(app: App, clock: Any) -> None:
    asked = app.login()
    assert asked.status_code == 202
    assert not asked.cookies
    challenge = asked.json()["challenge_token"]
    clock.forward(seconds=31)
    resent = app.post("otp-resend", {"challenge_token": challenge})
    assert resent.status_code == 202
    assert "challenge_token" not in resent.json()
    opened = app.post("otp-approve", {"otp_code": last_code(), "challenge_token": challenge})
    assert opened.status_code == 200
    assert not opened.cookies
    body = opened.json()
    assert body["token_type"] == "Bearer"
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert app.browser.me(headers=bearer).json()["email"] == "ana@example.com"

    refreshed = app.post("refresh", {"refresh_token": body["refresh_token"]})
    assert refreshed.status_code == 200
    assert not refreshed.cookies
    assert "device_token" not in refreshed.json()
    again = app.post("refresh", {"refresh_token": body["refresh_token"]})
    assert again.json()["refresh_token"] == refreshed.json()["refresh_token"]

    assert app.post("logout", **bearer).status_code == 204
    assert code_of(app.browser.me(headers=bearer)) == "session_revoked"
    assert app.login(device_token=body["device_token"]).status_code == 200


def test_a_replay_ends_the_session(app: App) -> None:
    """R1: the same rotation as with cookies."""
    first = app.sign_in()["refresh_token"]
    second = app.post("refresh", {"refresh_token": first}).json()["refresh_token"]
    app.post("refresh", {"refresh_token": second})
    response = app.post("refresh", {"refresh_token": first})
    assert code_of(response) == "refresh_reused"
    assert not response.cookies
    assert named("authn_token_reuse")
    assert len(mail.outbox) == 2


def test_cookies_are_neither_read_nor_set(app: App) -> None:
    """The header lifts CSRF, so a cookie that comes along must count for nothing."""
    browser = Browser()
    browser.sign_in()
    sent = browser.copy()
    assert code_of(sent.post("refresh", {"refresh_token": "x"}, csrf=False, headers=BODY)) == "token_invalid"
    response = sent.post("logout", csrf=False, headers=BODY)
    assert response.status_code == 204
    assert not response.cookies
    assert "Clear-Site-Data" not in response.headers
    assert Session.objects.alive().count() == 1
    assert code_of(browser.copy().patch("me", {}, csrf=False, headers=BODY)) == "csrf_failed"
    sent = browser.copy("device")
    assert sent.login(csrf=False, headers=BODY).status_code == 202  # the trusted device's cookie is not read
    sent.put("challenge", "x")
    body = {"otp_code": "123456", "challenge_token": "x"}
    assert code_of(sent.post("otp-approve", body, csrf=False, headers=BODY)) == "challenge_invalid"


@pytest.mark.parametrize(
    ("name", "field"),
    [("refresh", "refresh_token"), ("otp-resend", "challenge_token"), ("otp-approve", "challenge_token")],
)
def test_a_missing_token_is_a_field_error(app: App, name: str, field: str) -> None:
    response = app.post(name, {})
    assert code_of(response) == "validation_error"
    assert field in response.json()["errors"]


@pytest.mark.parametrize("value", ["Body", "cookie", "b", "body,body"])
def test_only_the_exact_word_counts(app: App, value: str) -> None:
    response = app.browser.login(csrf=False, headers={"X-Token-Transport": value})
    assert code_of(response) == "csrf_failed"


def test_a_foreign_challenge_token_is_no_challenge(app: App) -> None:
    app.login()
    for value in ("x", "A" * 48):
        body = {"otp_code": last_code(), "challenge_token": value}
        assert code_of(app.post("otp-approve", body)) == "challenge_invalid"


def test_a_new_sign_in_ends_the_session_of_its_bearer(app: App) -> None:
    old = app.sign_in()["access_token"]
    bearer = {"Authorization": f"Bearer {old}"}
    challenge = app.post(
        "login", {"email": "ana@example.com", "password": "correct horse battery staple"}, **bearer
    ).json()["challenge_token"]
    app.post("otp-approve", {"otp_code": last_code(), "challenge_token": challenge}, **bearer)
    assert code_of(app.browser.me(headers=bearer)) == "session_revoked"
