"""Which proof counts: CSRF with the cookie, none with a bearer token, and no falling back from one to the other."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.test import Client
from django.urls import reverse

from django_secure_auth.checks import HONOURS_NO_STORE
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, cookie, is_signed_in, make_user, named, session_of, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def _writes(browser: Browser) -> list[Any]:
    session = Session.objects.order_by("-created_at").first()
    probe = reverse("probe")
    return [
        browser.login,
        lambda **extra: browser.post("otp-approve", {"otp_code": "123456"}, **extra),
        browser.resend,
        browser.refresh,
        lambda **extra: browser.patch("me", {}, **extra),
        lambda **extra: browser.delete("session-list", **extra),
        lambda **extra: browser.delete("session-detail", session.pk if session else "", **extra),
        lambda **extra: browser.request("POST", probe, {}, **extra),
        browser.logout,
    ]


@pytest.mark.control("ASVS-3.5.1", "NIST-63B-5.1-e", "LOGVOC-malicious_csrf")
@pytest.mark.parametrize("number", range(9))
def test_every_write_with_cookies_needs_the_csrf_token(signed_in: Browser, number: int) -> None:
    """R6: sign-in, approval, resend, refresh and sign-out included, and a host's own view."""
    response = _writes(signed_in)[number](csrf=False)
    assert response.status_code == 403
    assert code_of(response) == "csrf_failed"
    assert is_signed_in(signed_in)
    (event,) = named("malicious_csrf")
    assert event.severity == "HIGH"


@pytest.mark.parametrize("number", range(9))
def test_a_foreign_origin_is_refused_with_a_right_token(signed_in: Browser, number: int) -> None:
    """R6: another site that knows a token is refused all the same."""
    response = _writes(signed_in)[number](headers={"Origin": "https://evil.example"})
    assert code_of(response) == "csrf_failed"


@pytest.mark.parametrize("headers", [{"Referer": ""}, {"Referer": "https://evil.example/"}, {"Origin": "null"}])
def test_referer_and_origin_are_judged(signed_in: Browser, headers: dict[str, str]) -> None:
    assert code_of(signed_in.refresh(headers=headers)) == "csrf_failed"


@pytest.mark.parametrize("number", range(5))
def test_strangers_need_the_csrf_token_too(browser: Browser, number: int) -> None:
    """R6: login CSRF signs a victim in as the attacker."""
    make_user()
    writes = [browser.login, browser.approve, browser.resend, browser.refresh, browser.logout]
    arguments = ["000000"] if number == 1 else []
    response = writes[number](*arguments, csrf=False)
    assert code_of(response) == "csrf_failed"


@pytest.mark.control("CS-CSRF-signed-double-submit")
def test_a_planted_pair_of_another_shape_is_refused(browser: Browser) -> None:
    browser.client.cookies["csrftoken"] = "short"
    browser.token = "short"
    assert code_of(browser.login()) == "csrf_failed"


@pytest.mark.control("ASVS-3.5.3")
@pytest.mark.parametrize("name", ["login", "otp-approve", "otp-resend", "refresh", "logout"])
def test_a_get_changes_nothing(signed_in: Browser, name: str) -> None:
    response = signed_in.get(name)
    assert response.status_code == 405
    assert code_of(response) == "method_not_allowed"
    assert is_signed_in(signed_in)


def test_a_bearer_token_needs_no_csrf(signed_in: Browser) -> None:
    headers = {"Authorization": f"Bearer {signed_in.value('access')}"}
    app = Browser()
    assert app.me(headers=headers).status_code == 200
    assert app.request("POST", reverse("probe"), {"a": 1}, csrf=False, headers=headers).json()["data"] == {"a": 1}
    assert app.patch("me", {}, csrf=False, headers=headers).status_code == 200
    assert app.delete("session-list", csrf=False, headers=headers).status_code == 204


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(signed_in: Browser, scheme: str) -> None:
    assert Browser().me(headers={"Authorization": f"{scheme} {signed_in.value('access')}"}).status_code == 200


# RFC 6750 §3.1: an error where a token was shown, none where there was nothing to judge.
CHALLENGES = {"not_authenticated": "Bearer", "token_invalid": 'Bearer error="invalid_token"'}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": ""}, "not_authenticated"),
        ({"Authorization": "Bearer"}, "token_invalid"),
        ({"Authorization": "Bearer "}, "token_invalid"),
        ({"Authorization": "Bearer garbled"}, "token_invalid"),
        ({"Authorization": "Bearer a b"}, "token_invalid"),
        ({"Authorization": "Bearer\tx"}, "not_authenticated"),
        ({"Authorization": "Basic YTpi"}, "not_authenticated"),
        ({"Authorization": "é"}, "not_authenticated"),
        ({"X-API-Key": "anything"}, "not_authenticated"),
        ({"X-API-Key": ""}, "not_authenticated"),
    ],
)
def test_the_cookie_is_no_fallback(signed_in: Browser, headers: dict[str, str], code: str) -> None:
    """The explicit credential alone decides; a garbled or foreign one is a 401."""
    for name in ("me", "session-list"):
        response = signed_in.get(name, headers=headers)
        assert response.status_code == 401
        assert code_of(response) == code
        assert response["WWW-Authenticate"] == CHALLENGES[code]
    assert signed_in.request("GET", reverse("probe"), headers=headers).status_code == 401
    assert is_signed_in(signed_in)


def test_a_bearer_of_one_and_a_cookie_of_another_is_the_bearer(signed_in: Browser) -> None:
    ben = make_user("ben@example.com")
    other = Browser()
    other.sign_in("ben@example.com")
    response = signed_in.me(headers={"Authorization": f"Bearer {other.value('access')}"})
    assert response.json()["id"] == str(ben.pk)


def test_an_authorization_header_does_not_lift_csrf_from_the_cookie(signed_in: Browser) -> None:
    for headers in ({"Authorization": "Basic YTpi"}, {"X-API-Key": "k"}, {"Authorization": "Bearer x"}):
        response = signed_in.refresh(csrf=False, headers=headers)
        assert code_of(response) == "csrf_failed"
        assert signed_in.request("POST", reverse("probe"), {}, csrf=False, headers=headers).status_code in {401, 403}
    assert Session.objects.get().generation == 1


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_no_token_in_the_url(signed_in: Browser, kind: str) -> None:
    token = signed_in.value(kind)
    stranger = Browser()
    for query in (f"?access_token={token}", f"?token={token}", f"?{cookie(kind)}={token}"):
        assert stranger.client.get(reverse("secure_auth:me") + query, secure=True).status_code == 401


def test_the_credentials_say_who_and_how(signed_in: Browser) -> None:
    session = Session.objects.get()
    cookie_request = signed_in.me()
    app = Browser().me(headers={"Authorization": f"Bearer {signed_in.value('access')}"})
    for response, kind in ((cookie_request, "cookie"), (app, "bearer")):
        auth = response.renderer_context["request"].auth
        assert auth.session_id == session.pk
        assert auth.amr == ("pwd", "email")
        assert auth.kind == kind
        assert auth.scopes == frozenset()
        assert abs((auth.auth_time - session.auth_time).total_seconds()) < 1


def test_the_user_of_a_request_is_a_real_one(signed_in: Browser) -> None:
    user = signed_in.me().renderer_context["request"].user
    assert user.is_authenticated
    assert user.check_password("correct horse battery staple")
    assert user == Session.objects.get().user


@pytest.mark.parametrize("agent", ["", "x" * 5000, "a\x00b\nc", "ünïcödé"])
def test_any_user_agent_opens_a_session(agent: str) -> None:
    browser = Browser(user_agent=agent)
    make_user()
    session = session_of(browser.sign_in())
    assert len(session.user_agent) <= 256
    assert session.device_label == "Unknown device"
    assert session.user_agent.isprintable()


def test_csrf_answers_a_token_and_its_cookie(browser: Browser) -> None:
    response = browser.get("csrf")
    assert response.status_code == 200
    assert response.json().keys() == {"csrf_token"}
    assert "csrftoken" in response.cookies
    assert response["Cache-Control"] == "no-store"
    assert "Cookie" in response["Vary"]


@pytest.mark.control("ASVS-14.2.2")
def test_no_answer_of_ours_is_stored(signed_in: Browser) -> None:
    for response in (signed_in.me(), signed_in.get("session-list"), signed_in.refresh(), signed_in.logout()):
        assert response["Cache-Control"] == "no-store"
        assert "Cookie" in response["Vary"]
        assert "Authorization" in response["Vary"]


@pytest.mark.control("ASVS-14.2.2")
@pytest.mark.skipif(
    django.VERSION[:3] < HONOURS_NO_STORE,
    reason="this release of Django keeps what says no-store (secure_auth.W087)",
)
def test_no_cache_of_the_site_keeps_what_only_one_may_read(signed_in: Browser, settings: Any) -> None:
    """A site that caches every page: who was signed out a moment ago is told so, and nothing lies in the cache."""
    name = "django.middleware.cache.{}CacheMiddleware".format
    settings.MIDDLEWARE = [name("Update"), *settings.MIDDLEWARE, name("FetchFrom")]
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "site"
    browser = signed_in.copy()
    for _ in range(2):
        assert is_signed_in(browser)
        assert browser.get("session-list").status_code == 200
    assert signed_in.logout().status_code == 204
    assert not is_signed_in(browser)
    assert browser.get("session-list").status_code == 401


def test_no_session_of_django_is_made_besides(signed_in: Browser) -> None:
    """R5: one credential for a sign-in."""
    signed_in.refresh()
    signed_in.me()
    assert "sessionid" not in signed_in.client.cookies


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"Authorization": "Bearer x"}, "token_invalid"),
        ({"Authorization": "Basic x"}, "token_invalid"),
        ({"X-API-Key": "k"}, "api_key_invalid"),
    ],
)
def test_no_explicit_credential_refreshes_and_the_cookie_is_no_fallback(
    signed_in: Browser, header: dict[str, str], code: str
) -> None:
    response = signed_in.copy().refresh(headers=header)
    assert code_of(response) == code
    assert Session.objects.get().generation == 1
    assert signed_in.refresh().status_code == 200


# As a server hands them on: Latin-1, and what UTF-8 becomes in it.
BLANKS = ["\x85", "\xa0", *(blank.encode().decode("latin-1") for blank in ("\x85", "\xa0", "\u2000"))]


@pytest.mark.parametrize("blank", BLANKS)
def test_a_neighbour_cannot_plant_an_access_cookie_past_its_prefix(signed_in: Browser, blank: str) -> None:
    """Django's reader trims names: `"\u2000__Host-…"` is no prefixed name to a browser, and would be ours here."""
    make_user("eve@example.com")
    eve = Browser()
    eve.sign_in("eve@example.com")
    planted = f"{blank}{cookie('access')}={eve.value('access')}"
    own = f"{cookie('access')}={signed_in.value('access')}"

    def who(header: str) -> Any:
        return Client().get(url("me"), secure=True, headers={"Cookie": header}).json().get("email")

    assert [who(f"{own}; {planted}"), who(f"{planted}; {own}"), who(planted)] == ["ana@example.com"] * 2 + [None]
