"""API keys over HTTP: made once by a person, used by a program, refused everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.apikeys import services
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key, revoke
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.kit.apikeys import new_api_key
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all
from django_secure_auth.urls import urlpatterns
from tests.browser import PASSWORD, Browser, change_user, code_of, is_signed_in, make_user, named, set_cookies, url

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
SCOPES = {"reports:read": "auth.view_group", "notes:write": None}


@pytest.fixture
def ana() -> Any:
    return make_user()


@pytest.fixture
def signed_in(browser: Browser, ana: Any) -> Browser:
    browser.sign_in()
    return browser


def program(key: str | None, *, path: str = "program", address: str = "192.0.2.1", **extra: str) -> Any:
    """A request as a program sends it: no cookies, no CSRF."""
    headers = {**({} if key is None else {"X-API-Key": key}), **extra}
    return Client(REMOTE_ADDR=address).get(reverse(path), secure=True, headers=headers)


def made(browser: Browser, **body: Any) -> Any:
    response = browser.post("apikey-list", {"name": "ci", **body})
    assert response.status_code == 201, response.content
    return response.json()


def change(browser: Browser, pk: Any, body: Any, **extra: Any) -> Any:
    return browser.request("PATCH", url("apikey-detail", pk), body, **extra)


def turn(browser: Browser, pk: Any, **extra: Any) -> Any:
    return browser.request("POST", url("apikey-rotate", pk), **extra)


def last_reason() -> str:
    return str(named("authn_api_key_fail")[-1].details["reason"])


# --- making ------------------------------------------------------------------------------------------


@pytest.mark.control("APIKEY-format", "LOGVOC-authn_token_created")
def test_a_key_is_shown_once_and_opens_what_lets_programs_in(signed_in: Browser, ana: Any) -> None:
    """R32: a name, an owner, scopes, an expiry; the secret is in no list and in no table."""
    response = signed_in.post("apikey-list", {"name": "nightly export"})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    text = body.pop("key")
    key = APIKey.objects.get()
    assert body == {
        "id": str(key.pk),
        "public_id": text.split("_")[2],
        "name": "nightly export",
        "scopes": [],
        "allowed_networks": [],
        "rate_limit": None,
        "created_at": body["created_at"],
        "expires_at": body["expires_at"],
        "last_used_at": None,
        "retires_at": None,
        "replaces": None,
    }
    assert key.expires_at - key.created_at == timedelta(days=365)
    assert text.startswith("dsa_live_")
    answer = program(text)
    assert answer.json() == {"user": str(ana.pk), "kind": "api_key", "scopes": []}

    listed = signed_in.get("apikey-list").json()
    assert listed.keys() == {"results", "next", "previous"}
    (row,) = listed["results"]
    assert row.pop("last_used_at") is not None
    assert body.pop("last_used_at") is None
    assert row == body
    assert text[-49:] not in repr([list(APIKey.objects.values()), list(SecurityEvent.objects.values())])
    (event,) = named("authn_token_created")
    assert (event.user_id, event.actor_id) == (str(ana.pk), str(ana.pk))
    assert event.details["public_id"] == key.public_id
    assert event.details["scopes"] == []


def test_a_key_has_what_it_was_given(signed_in: Browser, configure: Configure) -> None:
    configure(API_KEY_SCOPES=SCOPES)
    until = (timezone.now() + timedelta(days=30)).replace(microsecond=0)
    body = made(
        signed_in,
        scopes=["notes:write"],
        expires_at=until.isoformat(),
        rate_limit="1000/hour",
        allowed_networks=["192.0.2.0/24", "2001:DB8::/32", "192.0.2.0/24"],
    )
    assert body["scopes"] == ["notes:write"]
    assert body["rate_limit"] == "1000/hour"
    assert body["allowed_networks"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert APIKey.objects.get().expires_at == until
    assert body["expires_at"].endswith("Z")
    answer = program(body["key"])
    assert answer.json()["scopes"] == ["notes:write"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "ci", "scopes": "notes:write"}, "scopes"),
        ({"name": "ci", "scopes": [5]}, "scopes"),
        ({"name": "ci", "scopes": ["a b"]}, "scopes"),
        ({"name": "ci", "scopes": ["notes:write"] * 51}, "scopes"),
        ({"name": "ci", "scopes": {"notes:write": 1}}, "scopes"),
        ({"name": "ci", "scopes": None}, "scopes"),
        ({"name": "ci", "scopes": ["unheard:of"]}, "scopes"),
        ({"name": "ci", "expires_at": None}, "expires_at"),
        ({"name": "ci", "expires_at": 1900000000}, "expires_at"),
        ({"name": "ci", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "ci", "expires_at": "2099-01-01"}, "expires_at"),
        ({"name": "ci", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "ci", "expires_at": "2099-02-31T00:00:00Z"}, "expires_at"),
        ({"name": "ci", "expires_at": "0001-01-01T00:00:00+23:00"}, "expires_at"),
        ({"name": "ci", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "ci", "expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "ci", "rate_limit": "10/5x"}, "rate_limit"),
        ({"name": "ci", "rate_limit": 10}, "rate_limit"),
        ({"name": "ci", "rate_limit": "1" * 33 + "/s"}, "rate_limit"),
        ({"name": "ci", "allowed_networks": "192.0.2.0/24"}, "allowed_networks"),
        ({"name": "ci", "allowed_networks": ["192.0.2.1/24"]}, "allowed_networks"),
        ({"name": "ci", "allowed_networks": ["0.0.0.0/0"]}, "allowed_networks"),
        ({"name": "ci", "allowed_networks": [True]}, "allowed_networks"),
        ({"name": "ci", "allowed_networks": ["1" * 101]}, "allowed_networks"),
        ({"name": "ci", "scopes": ["s" * 101]}, "scopes"),
        ({"name": "ci", "user": 1}, "user"),
        ({"name": "ci", "digest": "x"}, "digest"),
        ({"name": "ci", "public_id": "x"}, "public_id"),
        ({"name": "ci", "created_at": "2020-01-01T00:00:00Z"}, "created_at"),
        ({"name": "ci", "last_used_at": None}, "last_used_at"),
    ],
)
def test_a_body_is_taken_as_it_is_meant_or_refused(
    signed_in: Browser, configure: Configure, body: dict[str, Any], field: str
) -> None:
    configure(API_KEY_SCOPES=SCOPES)
    response = signed_in.post("apikey-list", body)
    assert response.status_code == 400
    assert code_of(response) == "validation_error"
    errors = response.json()["errors"]
    assert errors.keys() == {field}
    assert all(isinstance(message, str) for message in errors[field])
    assert not APIKey.objects.exists()


@pytest.mark.control("ASVS-10.4.11")
def test_nobody_gives_a_key_what_they_may_not_do_themselves(signed_in: Browser, ana: Any, configure: Configure) -> None:
    """A view may let a scope pass without asking for the owner's permission."""
    assert signed_in.post("apikey-list", {"name": "ci", "scopes": ["notes:write"]}).status_code == 400
    configure(API_KEY_SCOPES=SCOPES)
    response = signed_in.post("apikey-list", {"name": "ci", "scopes": ["reports:read", "notes:write"]})
    assert response.json()["errors"] == {"scopes": ["You may not give the scope 'reports:read'."]}
    body = made(signed_in, scopes=["notes:write"])
    response = change(signed_in, body["id"], {"scopes": ["reports:read"]})
    assert response.json()["errors"].keys() == {"scopes"}
    ana.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert change(signed_in, body["id"], {"scopes": ["reports:read"]}).json()["scopes"] == ["reports:read"]


@pytest.mark.control("ASVS-2.3.2")
def test_the_limit_of_keys_counts_living_ones(signed_in: Browser, configure: Configure) -> None:
    configure(MAX_API_KEYS_PER_USER=2)
    first = made(signed_in)
    made(signed_in)
    response = signed_in.post("apikey-list", {"name": "ci"})
    assert response.status_code == 422
    assert code_of(response) == "policy_rejected"
    assert response.json()["errors"] == {"non_field_errors": ["At most 2 API keys: revoke one first."]}
    # One that is being replaced does not count: a full hand can still rotate.
    assert turn(signed_in, first["id"]).status_code == 201
    assert code_of(signed_in.post("apikey-list", {"name": "ci"})) == "policy_rejected"
    signed_in.delete("apikey-detail", APIKey.objects.get(retires_at=None, replaces=None).pk)
    made(signed_in)
    configure(MAX_API_KEYS_PER_USER=0)
    made(signed_in)


@pytest.mark.parametrize("how", ["ended", "another password"])
def test_a_session_that_ends_meanwhile_makes_no_key(
    how: str, signed_in: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says that it was somebody else is not left with a key which that somebody was just making."""
    drawing = services._draw

    def ended_first(**values: Any) -> Any:
        if how == "ended":
            end_all(ana, reason="not_me")
        else:  # of the model: nobody has ended sessions yet
            type(ana)._base_manager.filter(pk=ana.pk).update(password="another")
        return drawing(**values)

    monkeypatch.setattr(services, "_draw", ended_first)
    response = signed_in.post("apikey-list", {"name": "ci"})
    assert (response.status_code, code_of(response)) == (401, "session_revoked")
    assert not APIKey.objects.exists()


@pytest.mark.control("ASVS-7.5.1")
def test_writing_asks_for_a_recent_proof_and_reading_does_not(signed_in: Browser, clock: Any) -> None:
    body = made(signed_in)
    clock.forward(minutes=6)
    signed_in.refresh()
    assert signed_in.get("apikey-list").status_code == 200
    writes = (
        signed_in.post("apikey-list", {"name": "ci"}),
        change(signed_in, body["id"], {"name": "x"}),
        turn(signed_in, body["id"]),
        signed_in.delete("apikey-detail", body["id"]),
    )
    for response in writes:
        assert (response.status_code, code_of(response)) == (403, "step_up_required")
    assert APIKey.objects.get().name == "ci"
    assert {event.details["reason"] for event in named("authz_fail")} == {"step_up_required"}


@pytest.mark.parametrize("number", range(4))
def test_writing_with_cookies_needs_the_csrf_token(signed_in: Browser, number: int) -> None:
    """R6: a foreign page makes no keys."""
    body = made(signed_in)
    writes = [
        lambda: signed_in.post("apikey-list", {"name": "ci"}, csrf=False),
        lambda: change(signed_in, body["id"], {"name": "x"}, csrf=False),
        lambda: turn(signed_in, body["id"], csrf=False),
        lambda: signed_in.delete("apikey-detail", body["id"], csrf=False),
    ]
    assert code_of(writes[number]()) == "csrf_failed"
    assert APIKey.objects.alive().filter(name="ci", retires_at=None).count() == 1


def test_strangers_make_and_see_none(browser: Browser) -> None:
    for response in (
        browser.get("apikey-list"),
        browser.post("apikey-list", {"name": "ci"}),
        browser.request("PATCH", url("apikey-detail", uuid4()), {}),
        browser.delete("apikey-detail", uuid4()),
        turn(browser, uuid4()),
    ):
        assert (response.status_code, code_of(response)) == (401, "not_authenticated")


# --- lists, changes, ends ----------------------------------------------------------------------------


def test_the_list_shows_ones_own_living_keys_newest_first(signed_in: Browser, ana: Any) -> None:
    ben = make_user("ben@example.com")
    create_key(ben, name="his")
    keys = [create_key(ana, name=f"number {number}")[0] for number in range(4)]
    revoke(keys[0], reason="x")
    APIKey.objects.filter(pk=keys[1].pk).update(
        created_at=timezone.now() - timedelta(days=2), expires_at=timezone.now() - timedelta(days=1)
    )
    names = [row["name"] for row in signed_in.get("apikey-list").json()["results"]]
    assert names == ["number 3", "number 2"]


def test_the_list_comes_in_pages_of_a_hundred(signed_in: Browser, ana: Any, configure: Configure) -> None:
    configure(MAX_API_KEYS_PER_USER=0)
    for number in range(101):
        create_key(ana, name=f"number {number}")
    first = signed_in.get("apikey-list").json()
    assert (len(first["results"]), first["previous"]) == (100, None)
    second = signed_in.page(first["next"]).json()
    assert (len(second["results"]), second["next"]) == (1, None)


def test_a_key_can_be_changed_and_holds_at_the_next_request(signed_in: Browser, ana: Any, configure: Configure) -> None:
    configure(API_KEY_SCOPES=SCOPES)
    body = made(signed_in, scopes=["notes:write"])
    text = body.pop("key")
    assert program(text).status_code == 200
    soon = (timezone.now() + timedelta(days=3)).isoformat(timespec="seconds")
    wanted = {"name": "new name", "scopes": [], "allowed_networks": ["198.51.100.0/24"], "rate_limit": "9/s"}
    response = change(signed_in, body["id"], {**wanted, "expires_at": soon})
    assert response.status_code == 200
    after = response.json()
    assert {name: after[name] for name in wanted} == wanted
    assert after.keys() == body.keys()  # and not the key
    assert program(text).status_code == 401
    assert program(text, address="198.51.100.9").json()["scopes"] == []
    (event,) = named("authn_api_key_changed")
    assert event.details["changed"] == ["allowed_networks", "expires_at", "name", "rate_limit", "scopes"]
    assert event.details["public_id"] == body["public_id"]
    assert change(signed_in, body["id"], {"rate_limit": None}).json()["rate_limit"] is None
    assert change(signed_in, body["id"], {}).json()["name"] == "new name"
    assert len(named("authn_api_key_changed")) == 2  # nothing is told of nothing


def test_a_key_cannot_be_prolonged_beyond_a_year_from_its_making(signed_in: Browser, clock: Any) -> None:
    body = made(signed_in)
    clock.forward(days=10)
    signed_in.sign_in()
    late = (timezone.now() + timedelta(days=360)).isoformat(timespec="seconds")
    assert change(signed_in, body["id"], {"expires_at": late}).json()["errors"].keys() == {"expires_at"}
    fine = (timezone.now() + timedelta(days=350)).isoformat(timespec="seconds")
    assert change(signed_in, body["id"], {"expires_at": fine}).status_code == 200


@pytest.mark.parametrize("body", [{"name": ""}, {"key": "x"}, {"scopes": ["unheard:of"]}, {"public_id": "x"}])
def test_a_change_is_as_strict_as_the_making(signed_in: Browser, body: dict[str, Any]) -> None:
    pk = made(signed_in)["id"]
    assert code_of(change(signed_in, pk, body)) == "validation_error"


@pytest.mark.control("ASVS-10.4.9")
def test_a_revoked_key_is_refused_at_the_next_request(signed_in: Browser, ana: Any) -> None:
    body = made(signed_in)
    assert program(body["key"]).status_code == 200
    assert signed_in.delete("apikey-detail", body["id"]).status_code == 204
    assert program(body["key"]).status_code == 401
    assert last_reason() == "revoked"
    assert signed_in.get("apikey-list").json()["results"] == []
    (event,) = named("authn_api_key_revoked")
    assert (event.user_id, event.actor_id) == (str(ana.pk), str(ana.pk))
    assert event.details == {"public_id": body["public_id"], "reason": "revoked_by_user"}
    assert signed_in.delete("apikey-detail", body["id"]).status_code == 404


def test_a_foreign_key_does_not_exist(signed_in: Browser) -> None:
    """A foreign id, one that nobody has, and one that is over: the same in every byte but the request's id."""
    ben = make_user("ben@example.com")
    foreign, _ = create_key(ben, name="his")
    over = made(signed_in)["id"]
    signed_in.delete("apikey-detail", over)
    before = len(named("authz_fail"))
    answers: list[Any] = []
    for pk in (foreign.pk, uuid4(), over):
        answers += [
            change(signed_in, pk, {"name": "mine"}),
            signed_in.delete("apikey-detail", pk),
            turn(signed_in, pk),
        ]
    bodies = [{name: value for name, value in one.json().items() if name != "request_id"} for one in answers]
    assert all(body == bodies[0] for body in bodies)
    assert (bodies[0]["status"], bodies[0]["code"]) == (404, "not_found")
    assert len(named("authz_fail")) - before == 9
    foreign.refresh_from_db()
    assert (foreign.name, foreign.revoked_at, foreign.retires_at) == ("his", None, None)


# --- rotation ----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-13.3.4")
def test_a_rotated_key_works_beside_its_successor_for_a_while(signed_in: Browser, ana: Any, clock: Any) -> None:
    """R32: without a moment at which nothing works."""
    old = made(signed_in, rate_limit="100/s", allowed_networks=["192.0.2.0/24"])
    response = turn(signed_in, old["id"])
    assert response.status_code == 201
    new = response.json()
    assert new["key"] != old["key"]
    assert new["replaces"] == old["id"]
    for name in ("name", "scopes", "rate_limit", "allowed_networks"):
        assert new[name] == old[name]
    assert [program(one["key"]).status_code for one in (old, new)] == [200, 200]
    rows = {row["id"]: row for row in signed_in.get("apikey-list").json()["results"]}
    assert rows[old["id"]]["retires_at"] is not None
    assert rows[new["id"]]["retires_at"] is None
    (event,) = named("authn_api_key_rotated")
    assert event.user_id == str(ana.pk)
    assert event.details["public_id"] == old["public_id"]
    assert event.details["successor"] == new["public_id"]
    clock.forward(hours=24, minutes=1)
    assert [program(one["key"]).status_code for one in (old, new)] == [401, 200]
    assert last_reason() == "retired"


def test_a_key_is_replaced_once(signed_in: Browser) -> None:
    old = made(signed_in)
    assert turn(signed_in, old["id"]).status_code == 201
    response = turn(signed_in, old["id"])
    assert (response.status_code, code_of(response)) == (422, "policy_rejected")
    assert APIKey.objects.count() == 2


def test_of_a_line_of_keys_two_live(signed_in: Browser) -> None:
    """Or a loop of rotations would collect any number of living ones."""
    first = made(signed_in)
    second = turn(signed_in, first["id"]).json()
    third = turn(signed_in, second["id"]).json()
    assert [program(one["key"]).status_code for one in (first, second, third)] == [401, 200, 200]


def test_a_rotation_takes_nothing_in(signed_in: Browser) -> None:
    old = made(signed_in)
    assert code_of(turn(signed_in, old["id"], body={"name": "x"})) == "validation_error"
    assert turn(signed_in, old["id"], body={}).status_code == 201


def test_the_overlap_is_the_settings_and_may_be_none(signed_in: Browser, configure: Configure) -> None:
    configure(API_KEY_OVERLAP=timedelta(0))
    old = made(signed_in)
    new = turn(signed_in, old["id"]).json()
    assert [program(one["key"]).status_code for one in (old, new)] == [401, 200]


# --- the header --------------------------------------------------------------------------------------


@pytest.mark.control("CS-REST-apikey")
def test_a_key_is_taken_from_its_header_and_from_nowhere_else(ana: Any) -> None:
    text = create_key(ana, name="ci")[1]
    client, path = Client(), reverse("program")
    assert client.get(path, secure=True, headers={"X-API-Key": text}).status_code == 200
    elsewhere: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"Bearer {text}"}},
        {"headers": {"Authorization": f"ApiKey {text}"}},
        {"headers": {"Authorization": text}},
        {"headers": {"Api-Key": text}},
        {"headers": {"Cookie": f"X-API-Key={text}; api_key={text}"}},
        {"query_params": {"api_key": text, "X-API-Key": text, "key": text}},
    ]
    for extra in elsewhere:
        assert client.get(path, secure=True, **extra).status_code == 401
    body = {"api_key": text, "X-API-Key": text}
    assert client.post(path, body, content_type="application/json", secure=True).status_code == 401


GARBLED = [
    "",
    " ",
    "garbled",
    "{key} ",
    "{key},{key}",
    "{key}, {key}",
    "Bearer {key}",
    '"{key}"',
    "é",
    "\x00",
    "{key}=",
]


@pytest.mark.parametrize("value", GARBLED)
@pytest.mark.parametrize("path", ["program", "key-only"])
def test_a_garbled_or_doubled_key_is_refused_and_no_cookie_is_a_fallback(
    signed_in: Browser, ana: Any, value: str, path: str
) -> None:
    text = create_key(ana, name="ci")[1]
    response = signed_in.request("GET", reverse(path), headers={"X-API-Key": value.format(key=text)})
    assert (response.status_code, code_of(response)) == (401, "api_key_invalid")
    assert response["WWW-Authenticate"] == "ApiKey"
    assert last_reason() == "malformed"
    assert is_signed_in(signed_in)


def test_without_a_key_a_view_for_programs_alone_asks_for_one(browser: Browser) -> None:
    response = browser.request("GET", reverse("key-only"))
    assert (response.status_code, code_of(response)) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == "ApiKey"


def test_a_key_beside_another_explicit_credential_is_refused(signed_in: Browser, ana: Any) -> None:
    """Whoever reads the one and whoever reads the other would disagree on who is asking."""
    text = create_key(make_user("ben@example.com"), name="ci")[1]
    bearer = f"Bearer {signed_in.value('access')}"
    assert program(None, Authorization=bearer).status_code == 200
    assert code_of(program(text, Authorization=bearer)) == "token_invalid"
    for header in (bearer, "Basic YTpi", ""):
        response = program(text, path="key-only", Authorization=header)
        assert (response.status_code, code_of(response)) == (401, "api_key_invalid")
        assert last_reason() == "two_credentials"
    assert code_of(signed_in.me(headers={"X-API-Key": text, "Authorization": bearer})) == "token_invalid"


def test_the_key_decides_over_the_cookie(signed_in: Browser) -> None:
    ben = make_user("ben@example.com")
    text = create_key(ben, name="ci")[1]
    response = signed_in.request("GET", reverse("program"), headers={"X-API-Key": text})
    assert response.json()["user"] == str(ben.pk)


def test_a_key_needs_no_csrf_and_lifts_it_from_no_cookie(signed_in: Browser, ana: Any) -> None:
    text = create_key(ana, name="ci")[1]
    headers = {"X-API-Key": text}
    path = reverse("program")
    assert Browser().request("POST", path, {"a": 1}, csrf=False, headers=headers).json()["data"] == {"a": 1}
    # With the cookie alone it is asked for; beside a refused key there is no falling back to it.
    assert code_of(signed_in.request("POST", path, {}, csrf=False)) == "csrf_failed"
    refused = signed_in.request("POST", path, {}, csrf=False, headers={"X-API-Key": "x"})
    assert code_of(refused) == "api_key_invalid"
    assert signed_in.request("POST", reverse("probe"), {}, csrf=False, headers=headers).status_code == 401
    for name in ("login", "refresh", "logout", "otp-approve", "otp-resend"):
        assert code_of(signed_in.post(name, {}, csrf=False, headers=headers)) == "csrf_failed"


def test_answers_to_a_key_are_kept_by_no_cache(ana: Any) -> None:
    """RFC 9111 spares answers to `Authorization` only."""
    for text in (create_key(ana, name="ci")[1], "garbled"):
        response = program(text)
        assert response["Cache-Control"] == "no-store"
        assert "X-API-Key" in response["Vary"]
    assert "X-API-Key" not in program(None).get("Vary", "")


# --- what is refused, always alike -------------------------------------------------------------------


def _tampered(text: str) -> str:
    """Another key under the same public id, with a checksum that is right."""
    letters = iter(text.split("_")[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_secure_auth.kit.apikeys.secrets.choice", lambda _: next(letters))
        return new_api_key(prefix="dsa", environment="live").value


def end(key: APIKey, how: str) -> None:
    now = timezone.now()
    moments: dict[str, dict[str, Any]] = {
        "revoked": {"revoked_at": now},
        "expired": {"created_at": now - timedelta(days=2), "expires_at": now},
        "retired": {"retires_at": now},
        "network": {"allowed_networks": ["198.51.100.0/24"]},
    }
    if how == "inactive":
        change_user(key.user, is_active=False)
    elif how in moments:
        APIKey.objects.filter(pk=key.pk).update(**moments[how])


@pytest.mark.control("ASVS-13.2.1", "APIKEY-lifecycle")
@pytest.mark.parametrize(
    "how", ["malformed", "unknown", "wrong_secret", "revoked", "expired", "retired", "inactive", "network"]
)
def test_every_refusal_is_the_same_outside_and_the_trail_has_the_reason(ana: Any, how: str) -> None:
    key, text = create_key(ana, name="ci")
    assert program(text).status_code == 200
    reference = program("garbled").json()
    sent = {
        "malformed": text[:-1] + ("x" if text[-1] != "x" else "y"),
        "unknown": new_api_key(prefix="dsa", environment="live").value,
        "wrong_secret": _tampered(text),
    }.get(how, text)
    end(key, how)
    response = program(sent)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "ApiKey"
    body = response.json()
    assert {**body, "request_id": ""} == {**reference, "request_id": ""}
    event = named("authn_api_key_fail")[-1]
    assert event.details["reason"] == how
    assert event.severity == "MEDIUM"
    assert event.request_id == body["request_id"]
    assert event.details.get("public_id") == (None if how == "malformed" else sent.split("_")[2])
    # Who holds a genuine key is its owner; who guesses at one is nobody, and names whose it is at most.
    is_genuine = how in {"revoked", "expired", "retired", "inactive", "network"}
    assert event.actor_id == (str(ana.pk) if is_genuine else "")
    assert event.user_id == (str(ana.pk) if is_genuine or how == "wrong_secret" else "")
    assert sent[-49:] not in repr(event.__dict__)


def test_a_forgotten_job_is_told_once_in_five_minutes_and_guesses_each_time(ana: Any) -> None:
    key, text = create_key(ana, name="ci")
    revoke(key, reason="x")
    for _ in range(4):
        assert program(text).status_code == 401
    assert len(named("authn_api_key_fail")) == 1
    for _ in range(4):
        program(_tampered(text))
    assert len(named("authn_api_key_fail")) == 5


def test_rows_of_noise_are_bounded(ana: Any) -> None:
    for _ in range(25):
        program("noise")
    assert len(named("authn_api_key_fail")) == 20


def test_a_key_that_is_presented_in_the_very_last_moment_of_its_life(ana: Any, clock: Any) -> None:
    _, text = create_key(ana, name="ci", expires_at=timezone.now() + timedelta(hours=1))
    clock.forward(minutes=59, seconds=58)
    assert program(text).status_code == 200
    clock.forward(seconds=3)
    assert program(text).status_code == 401


def test_a_key_of_a_deleted_user_is_unknown(ana: Any) -> None:
    text = create_key(ana, name="ci")[1]
    ana.delete()
    assert program(text).status_code == 401
    assert last_reason() == "unknown"


def test_a_reactivated_user_has_their_keys_again_and_a_new_password_ends_none(ana: Any) -> None:
    text = create_key(ana, name="ci")[1]
    change_user(ana, is_active=False)
    assert program(text).status_code == 401
    change_user(ana, is_active=True, password="another long password")
    assert program(text).status_code == 200


# --- networks and limits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("192.0.2.77", 200),
        ("::ffff:192.0.2.77", 200),
        ("2001:db8::5", 200),
        ("192.0.3.1", 401),
        ("2001:db9::5", 401),
        ("", 401),
    ],
)
def test_a_key_works_from_its_networks_only(ana: Any, address: str, status: int) -> None:
    text = create_key(ana, name="ci", networks=["192.0.2.0/24", "2001:db8::/32"])[1]
    assert program(text, address=address).status_code == status


def test_the_address_is_the_one_that_limits_and_audit_see(ana: Any, configure: Configure) -> None:
    """R13: nobody writes themselves into the list of networks."""
    text = create_key(ana, name="ci", networks=["192.0.2.0/24"])[1]
    forged = {"X-Forwarded-For": "192.0.2.7"}
    assert program(text, address="10.0.0.1", **forged).status_code == 401
    configure(TRUSTED_PROXIES=["10.0.0.0/8"])
    assert program(text, address="10.0.0.1", **forged).status_code == 200


@pytest.mark.control("CS-REST-apikey")
def test_a_key_has_a_limit_of_its_own(ana: Any) -> None:
    key, text = create_key(ana, name="ci", rate_limit="3/h")
    other = create_key(ana, name="other", rate_limit="3/h")[1]
    free = create_key(ana, name="free")[1]
    assert [program(text).status_code for _ in range(5)] == [200] * 3 + [429] * 2
    response = program(text)
    assert code_of(response) == "rate_limited"
    assert response["RateLimit-Policy"] == '"api_key";q=3;w=3600'
    assert int(response["Retry-After"]) >= 1
    assert response["RateLimit"].startswith('"api_key";r=0;t=')
    assert program(other).status_code == 200
    assert [program(free).status_code for _ in range(5)] == [200] * 5
    (event,) = named("excess_rate_limit_exceeded")
    assert event.user_id == str(ana.pk)
    assert event.details["limit"] == "api_key"
    assert event.details["public_id"] == key.public_id


def test_a_guesser_uses_up_nobodys_limit(ana: Any) -> None:
    text = create_key(ana, name="ci", rate_limit="3/h")[1]
    for _ in range(5):
        assert program(_tampered(text)).status_code == 401
    assert program(text).status_code == 200


def test_a_cache_that_is_away_stops_no_program(ana: Any, configure: Configure) -> None:
    """A key's limit is about load, not about guesses."""
    text = create_key(ana, name="ci", rate_limit="1/h")[1]
    configure(RATE_LIMIT_CACHE="nowhere")
    assert [program(text).status_code for _ in range(3)] == [200] * 3


# --- what a key is not -------------------------------------------------------------------------------


def test_the_credentials_say_that_it_is_a_key_and_never_recent(ana: Any) -> None:
    text = create_key(ana, name="ci", scopes=["reports:read", "notes:write"])[1]
    request = program(text).renderer_context["request"]
    assert request.auth.kind == "api_key"
    assert request.auth.scopes == {"reports:read", "notes:write"}
    assert (request.auth.session_id, request.auth.amr) == (None, ())
    assert request.user == ana
    assert request.user.is_authenticated
    response = program(text, path="program-recent")
    assert (response.status_code, code_of(response)) == (403, "step_up_required")


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {"jwks"}


@pytest.mark.control("ASVS-7.2.2", "APITOP10-API2:2023")
@pytest.mark.parametrize("name", [str(one.name) for one in urlpatterns])
def test_none_of_our_endpoints_takes_a_key(ana: Any, name: str) -> None:
    """It opens no session and manages neither keys nor credentials: a leaked one is not the account."""
    key, text = create_key(ana, name="ci", scopes=["reports:read"])
    before = list(APIKey.objects.values())
    pattern = next(one for one in urlpatterns if one.name == name)
    arguments = [key.pk] if "<uuid:" in str(pattern.pattern) else []
    bodies = {"login": {"email": "ana@example.com", "password": PASSWORD}, "otp-approve": {"otp_code": "123456"}}
    for method in METHODS:
        for csrf in (True, False):
            browser = Browser()
            browser.csrf()
            body = bodies.get(name, {"name": "mine"}) if method not in {"GET", "OPTIONS"} else None
            response = browser.request(method, url(name, *arguments), body, csrf=csrf, headers={"X-API-Key": text})
            if name in PUBLIC:
                assert response.status_code in {200, 405}
            else:
                assert response.status_code in {401, 403}, (method, response.content)
                assert code_of(response) in {"api_key_invalid", "not_authenticated", "csrf_failed"}
            assert not {cookie for cookie in set_cookies(response) if "secure_auth" in cookie}
    assert not Session.objects.exists()
    assert list(APIKey.objects.values()) == before


def test_a_key_beside_a_password_or_a_cookie_opens_nothing_either(browser: Browser, ana: Any) -> None:
    """The explicit credential alone decides."""
    text = create_key(ana, name="ci")[1]
    headers = {"X-API-Key": text}
    assert code_of(browser.login(headers=headers)) == "api_key_invalid"
    browser.login()
    assert code_of(browser.approve(headers=headers)) == "api_key_invalid"
    assert code_of(browser.resend(headers=headers)) == "api_key_invalid"
    browser.approve()
    assert code_of(browser.refresh(headers=headers)) == "api_key_invalid"
    assert code_of(browser.logout(headers=headers)) == "api_key_invalid"
    assert is_signed_in(browser)
    told = [event.details for event in named("authz_fail")]
    assert {detail["reason"] for detail in told} == {"api_key_invalid"}
    assert len(told) == 5


# --- the last use ------------------------------------------------------------------------------------


def last_used() -> datetime | None:
    return APIKey.objects.get().last_used_at


def test_the_last_use_is_written_at_most_every_ten_minutes(ana: Any, clock: Any) -> None:
    """R51: and by a statement of its own."""
    text = create_key(ana, name="ci")[1]
    program(text)
    first = last_used()
    assert first is not None
    clock.forward(minutes=9, seconds=58)
    program(text)
    assert last_used() == first
    clock.forward(seconds=4)
    program(text)
    second = last_used()
    assert second is not None
    assert second - first > timedelta(minutes=10)


@pytest.mark.parametrize("atomic", [True, False])
def test_the_first_use_is_told_once(ana: Any, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    key, text = create_key(ana, name="ci")
    heard: list[dict[str, Any]] = []

    def listen(sender: Any, **arguments: Any) -> None:
        arguments.pop("signal")
        heard.append({**arguments, "in_transaction": connection.in_atomic_block})

    signals.api_key_used_first.connect(listen)
    try:
        for _ in range(3):
            assert program(text).status_code == 200
    finally:
        signals.api_key_used_first.disconnect(listen)
    assert heard == [{"key_id": key.pk, "public_id": key.public_id, "user_id": ana.pk, "in_transaction": False}]
    (event,) = named("authn_api_key_used_first")
    assert (event.user_id, event.details["public_id"]) == (str(ana.pk), key.public_id)
    assert event.ip_address == "192.0.2.1"


def _read_only(on: bool) -> None:
    statement = {
        "sqlite": f"PRAGMA query_only = {int(on)}",
        "postgresql": f"SET default_transaction_read_only = {'on' if on else 'off'}",
        "mysql": f"SET SESSION TRANSACTION READ {'ONLY' if on else 'WRITE'}",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_on_a_read_only_database_a_key_works_and_its_last_use_is_skipped(
    ana: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R51: silently, and it is not tried with each request either."""
    # SQLite's IMMEDIATE transactions cannot even begin there; the project would have none.
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    text = create_key(ana, name="ci")[1]
    tries: list[int] = []
    swap = services._swap_last_use

    def counted(*arguments: Any) -> bool:
        tries.append(1)
        return swap(*arguments)

    monkeypatch.setattr(services, "_swap_last_use", counted)
    _read_only(True)
    try:
        assert [program(text).status_code for _ in range(3)] == [200] * 3
    finally:
        _read_only(False)
    assert last_used() is None
    assert len(tries) == 1
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    services._last_failure = float("-inf")
    program(text)
    assert last_used() is not None


def test_a_request_that_is_rolled_back_has_used_its_key_all_the_same(ana: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R51: not in the request's transaction."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    text = create_key(ana, name="ci")[1]
    assert program(text, path="program-recent").status_code == 403
    assert last_used() is not None


# --- keys of the server ------------------------------------------------------------------------------


def test_a_key_moves_to_the_new_root_key_when_it_is_used(ana: Any, settings: Any, clock: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = []
    unused, text = create_key(ana, name="unused")[1], create_key(ana, name="ci")[1]
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "2c4e6a8b0d1f3e5c7a9b another secret of this year", [old]
    assert program(text).status_code == 200
    assert program(text).status_code == 200
    assert len({key.key_id for key in APIKey.objects.all()}) == 2
    settings.SECRET_KEY_FALLBACKS = []
    assert program(text).status_code == 200
    assert program(unused).status_code == 401
    assert last_reason() == "wrong_secret"


def test_other_words_in_the_settings_end_no_key(signed_in: Browser, configure: Configure) -> None:
    old = made(signed_in)["key"]
    configure(API_KEY_PREFIX="acme", API_KEY_ENVIRONMENT="eu1")
    new = made(signed_in)["key"]
    assert new.startswith("acme_eu1_")
    assert [program(text).status_code for text in (old, new)] == [200, 200]
