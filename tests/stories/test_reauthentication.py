"""`reauthenticate/`: whoever is signed in proves again who they are, and what is dangerous opens for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from django_secure_auth.accounts import services
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session
from tests.browser import (
    PASSWORD,
    Browser,
    Clock,
    code_of,
    is_signed_in,
    last_code,
    make_user,
    named,
    session_of,
    trust,
    url,
    wrong_code,
)

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def prove(browser: Browser, password: str = PASSWORD, **extra: Any) -> Any:
    return browser.post("reauthenticate", {"password": password}, **extra)


def end_others(browser: Browser) -> Any:
    return browser.delete("session-list")


@pytest.mark.control("ASVS-7.5.1")
def test_what_is_dangerous_asks_for_a_fresh_proof_and_says_what_it_accepts(signed_in: Browser, clock: Clock) -> None:
    clock.forward(minutes=6)
    signed_in.refresh()  # no proof
    refusal = end_others(signed_in)
    assert (refusal.status_code, code_of(refusal)) == (403, "step_up_required")
    assert refusal.json()["accepts"] == ["password"]
    before = session_of(signed_in.refresh()).auth_time
    answer = prove(signed_in)
    assert answer.status_code == 200
    assert answer.json()["status"] == "authenticated"
    assert session_of(answer).auth_time > before
    assert end_others(signed_in).status_code == 204
    assert [event.event for event in named("authn_reauthenticated")] == ["authn_reauthenticated"]
    clock.forward(minutes=6)
    signed_in.refresh()
    assert end_others(signed_in).status_code == 403


@pytest.mark.control("ASVS-7.2.4")
def test_the_session_goes_on_with_new_tokens(signed_in: Browser) -> None:
    old, session = signed_in.copy("access", "refresh"), Session.objects.get()
    prove(signed_in)
    assert signed_in.value("refresh") != old.value("refresh")
    assert signed_in.value("access") != old.value("access")
    assert Session.objects.get().generation == session.generation + 1
    assert signed_in.refresh().status_code == 200
    assert signed_in.me().status_code == 200
    assert code_of(old.refresh()) == "refresh_reused", "a thief's old one is worth nothing"


def test_a_program_that_keeps_its_refresh_token_gets_the_next_one_for_it(configure: Configure) -> None:
    configure(ALLOW_TOKEN_IN_BODY=True, OTP_POLICY="never")
    make_user()
    app = Browser()
    body = {"X-Token-Transport": "body"}
    tokens = app.login(headers=body, csrf=False).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert "refresh_token" not in prove(app, headers=bearer, csrf=False).json()
    assert app.me(headers=bearer).status_code == 200
    renewed = app.post("refresh", {"refresh_token": tokens["refresh_token"]}, headers=body, csrf=False)
    assert renewed.status_code == 200


def test_a_refresh_in_this_very_moment_gets_the_same_successor(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tab: whoever comes second reads again."""
    other = signed_in.copy("access", "refresh")
    proven = services.prove_again

    def meanwhile(*args: Any, **kwargs: Any) -> bool:
        is_alive = proven(*args, **kwargs)
        assert other.refresh().status_code == 200
        return is_alive

    monkeypatch.setattr(services, "prove_again", meanwhile)
    assert prove(signed_in).status_code == 200
    assert Session.objects.get().generation == 3
    assert signed_in.refresh().status_code == 200


def test_a_session_that_ends_in_this_very_moment_is_over(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    proven = services.prove_again

    def meanwhile(session: Session, **kwargs: Any) -> bool:
        is_alive = proven(session, **kwargs)
        end_session(session.pk, user_id=session.user_id, reason="admin")
        return is_alive

    monkeypatch.setattr(services, "prove_again", meanwhile)
    assert code_of(prove(signed_in)) == "session_revoked"


def test_a_wrong_password_is_refused_and_counted(signed_in: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_device": "3/15m"})
    refusals = [prove(signed_in, "wrong") for _ in range(4)]
    assert [code_of(one) for one in refusals] == ["invalid_credentials"] * 3 + ["rate_limited"]
    assert code_of(prove(signed_in)) == "rate_limited"
    assert is_signed_in(signed_in)
    assert len(named("authn_login_fail")) == 3


def test_strangers_cannot_use_up_the_tries_of_a_session(signed_in: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_account": "1/15m", "login_address": "1/15m"})
    stranger = Browser(address="203.0.113.9")
    for _ in range(3):
        stranger.login(password="guess")
    assert prove(signed_in).status_code == 200


def test_where_the_policy_wants_a_code_it_wants_one_here(
    signed_in: Browser, configure: Configure, clock: Clock
) -> None:
    configure(OTP_POLICY="always")
    clock.forward(minutes=6)
    signed_in.refresh()
    asked = prove(signed_in)
    assert asked.status_code == 202
    assert asked.json()["challenge"]["purpose"] == "reauthenticate"
    assert end_others(signed_in).status_code == 403
    answer = signed_in.approve()
    assert answer.status_code == 200
    assert not signed_in.has("challenge")
    assert answer.json()["session"]["amr"] == ["pwd", "email"]
    assert end_others(signed_in).status_code == 204


def test_its_code_is_worth_nothing_in_another_session(signed_in: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="always")
    prove(signed_in)
    code = last_code()
    other = Browser()
    other.put("challenge", signed_in.value("challenge"))
    assert code_of(other.approve(code)) == "challenge_invalid"  # nobody is signed in there
    make_user("ben@example.com")
    other.drop("challenge")
    other.sign_in("ben@example.com")
    other.put("challenge", signed_in.value("challenge"))
    assert code_of(other.approve(code)) == "challenge_invalid"
    assert signed_in.approve(code).status_code == 200


def test_a_session_that_ends_meanwhile_gets_nothing(signed_in: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="always")
    prove(signed_in)
    session = Session.objects.get()
    end_session(session.pk, user_id=session.user_id, reason="sign_out")
    assert code_of(signed_in.approve()) == "challenge_invalid"
    assert code_of(prove(signed_in)) == "session_revoked"


def test_a_bearer_token_proves_without_cookies(signed_in: Browser) -> None:
    token = signed_in.value("access")
    program = Browser()
    answer = prove(program, headers={"Authorization": f"Bearer {token}"}, csrf=False)
    assert answer.status_code == 200
    assert not answer.cookies
    assert answer.json()["access_expires_at"]


def test_a_session_that_ends_in_this_very_moment_is_not_raised(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = services.prove_password

    def meanwhile(*args: Any, **how: Any) -> Any:
        session = Session.objects.get()
        end_session(session.pk, user_id=session.user_id, reason="sign_out")
        return real(*args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(services, "prove_password", meanwhile)
        assert code_of(prove(signed_in)) == "session_revoked"
    signed_in.sign_in()
    monkeypatch.setattr(services, "prove_again", lambda *_, **__: False)
    assert code_of(prove(signed_in)) == "session_revoked"


def test_an_account_that_goes_in_this_very_moment_is_no_defect(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = get_user_model()
    monkeypatch.setattr(model._base_manager.__class__, "using", lambda self, alias: self.none())
    assert code_of(prove(signed_in)) == "session_revoked"


def test_strangers_and_other_sites_are_refused(browser: Browser, signed_in: Browser) -> None:
    assert code_of(prove(Browser())) == "not_authenticated"
    assert code_of(prove(signed_in, csrf=False)) == "csrf_failed"
    assert signed_in.request("POST", url("reauthenticate"), {"password": PASSWORD, "x": 1}).status_code == 400
    assert signed_in.request("POST", url("reauthenticate"), {}).status_code == 400


def test_an_account_that_is_deleted_meanwhile_is_no_defect(signed_in: Browser) -> None:
    user: Any = get_user_model()._default_manager.get()
    user.delete()
    assert code_of(prove(signed_in)) == "session_revoked"


@pytest.mark.control("NIST-63B-5.1-f")
def test_a_session_is_worth_what_was_proven_and_more_only_after_another_proof(
    browser: Browser, configure: Configure, clock: Clock
) -> None:
    trust(browser, make_user())
    assert browser.login().json()["session"]["amr"] == ["pwd"]
    clock.forward(minutes=6)
    assert browser.refresh().json()["session"]["amr"] == ["pwd"]
    assert is_signed_in(browser)
    assert prove(browser).json()["session"]["amr"] == ["pwd"]
    configure(OTP_POLICY="always")
    assert prove(browser).status_code == 202
    assert Session.objects.alive().get().amr == ["pwd"]  # a code that was asked for proves nothing yet
    assert browser.approve(wrong_code()).status_code == 401
    assert Session.objects.alive().get().amr == ["pwd"]
    assert browser.approve().json()["session"]["amr"] == ["pwd", "email"]
