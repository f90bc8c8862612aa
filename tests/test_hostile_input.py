"""Any bytes, any JSON, any headers, cookies and queries to every endpoint: a documented status, never a 500.

How long it looks is the profile's to say (tests/conftest.py); `HYPOTHESIS_PROFILE=nightly` looks thirty times as long.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.kit import opaque
from django_secure_auth.problems import MEDIA_TYPE
from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import sign_in
from tests.browser import PASSWORD, Browser, last_code, make_staff, make_user

pytestmark = pytest.mark.django_db
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
fuzz = settings(deadline=None, suppress_health_check=QUIET)

ENDPOINTS = (
    "csrf", "login", "otp-approve", "otp-resend", "refresh", "logout", "me", "session-list", "session-detail", "jwks",
    "apikey-list", "apikey-detail", "apikey-rotate", "register", "register-verify", "password-reset",
    "password-reset-confirm", "password-change", "reauthenticate", "email-change", "email-undo", "not-me", "activity",
    "export", "device-list", "device-detail",
)  # fmt: skip
WITH_ID = {"device-detail", "session-detail", "apikey-detail", "apikey-rotate"}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get")
DOCUMENTED = {200, 201, 202, 204, 400, 401, 403, 404, 405, 406, 413, 415, 422, 429}
CODES = {
    "malformed_request", "validation_error", "not_authenticated", "invalid_credentials", "token_invalid",
    "token_expired", "session_inactive", "session_revoked", "refresh_reused", "otp_invalid", "challenge_invalid",
    "csrf_failed", "cross_site_request", "permission_denied", "step_up_required", "not_found", "policy_rejected",
    "method_not_allowed", "not_acceptable", "too_large", "unsupported_media_type", "rate_limited", "api_key_invalid",
    "password_rejected", "reset_invalid",
}  # fmt: skip

# Latin-1 is what a header can carry; a server refuses line breaks before they reach Django.
header_values = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(
    [
        "email", "password", "remember_me", "otp_code", "first_name", "is_staff", "refresh_token", "challenge_token",
        "name", "scopes", "expires_at", "rate_limit", "allowed_networks", "new_email", "uid", "token", "new_password",
        "current_password",
    ]
) | st.text(max_size=12)  # fmt: skip
objects = st.dictionaries(field_names, json_values, max_size=5)
strange = st.sampled_from(
    [
        b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{", b'{"a":1,"a":2}', b'{"email":"\\u0000"}',
        b'{"email":"\\ud800"}',
        b'{"password":NaN}', b'{"otp_code":1e999}', b"[" * 5000, b'{"a":' * 3000, b"\xff\xfe{}", b"\xef\xbb\xbf{}",
        b'{"email":"a@b.c","password":"' + b"x" * 20_000 + b'"}', b"--x--", b"a=1&b=2", b'{"email":"\xed\xa0\x80"}',
        b'{"email": "a@example.com", "password": "x"}', b'{"uid": "\\ud800", "token": "", "new_password": "x"}',
        b'{"email": "a@example.com", "password": "correct horse battery \\u0000"}',
        b'{"new_email": "a@\\u202eb.example"}',
        b'{"otp_code": "123456"}', b'{"otp_code": "\xef\xbc\x91"}',
    ]
)  # fmt: skip
bodies = st.binary(max_size=200) | strange | objects.map(lambda value: json.dumps(value).encode())
content_types = st.sampled_from(
    [
        "application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "text/plain", "",
        "multipart/form-data; boundary=x", "multipart/form-data", "application/xml", "application/json;;;", "a/b; c=\"",
    ]
) | header_values  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept", "Accept-Language", "Authorization", "X-API-Key", "X-Token-Transport", "X-CSRF-Token", "Origin",
            "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-HTTP-Method-Override", "If-None-Match",
            "Sec-Fetch-Site", "Content-Encoding", "X-Request-ID", "Forwarded",
        ]
    ),
    header_values | st.sampled_from(["Bearer x", "Bearer ", "body", "application/xml", "text/html", "*/*", "null"]),
    max_size=4,
)  # fmt: skip
cookie_names = st.sampled_from(
    [
        "__Host-secure_auth_access", "__Secure-secure_auth_refresh", "__Host-secure_auth_challenge",
        "__Host-secure_auth_device", "csrftoken", "sessionid", "messages", "__host-secure_auth_access",
    ]
)  # fmt: skip
cookies = st.lists(st.tuples(cookie_names, header_values), max_size=4)
queries = st.dictionaries(st.sampled_from(["page", "format", "next", "x", "_method"]), st.text(max_size=12), max_size=2)


def _path(name: str) -> str:
    return reverse(f"secure_auth:{name}", args=[UUID(int=7)] if name in WITH_ID else [])


def _judge(response: Any, method: str) -> None:
    assert response.status_code in DOCUMENTED, (response.status_code, response.content)
    if response.status_code >= 400 and method != "HEAD":
        assert response["Content-Type"].startswith(MEDIA_TYPE), response["Content-Type"]
        body = response.json()
        assert body["status"] == response.status_code
        assert body["code"] in CODES, body
        assert body.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
        assert "Traceback" not in response.content.decode()
        if response.status_code == 401:
            assert response["WWW-Authenticate"]


@pytest.fixture(scope="module")
def limits_off() -> Any:
    """Limits would answer for everything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_secure_auth.ratelimit.services.take", lambda *_: 1)
        yield


def _attack(data: st.DataObject, **always: str) -> None:
    name = data.draw(st.sampled_from(ENDPOINTS))
    method = data.draw(st.sampled_from(METHODS))
    body = data.draw(bodies)
    sent = data.draw(headers) | always
    browser = Browser()
    browser.client.raise_request_exception = False
    pairs = [f"{key}={value}" for key, value in data.draw(cookies)]
    if data.draw(st.booleans()):
        # Past the CSRF check, to what lies behind it.
        token = browser.csrf()
        pairs.append(f"csrftoken={browser.client.cookies['csrftoken'].value}")
        pairs += [f"{key}={morsel.value}" for key, morsel in browser.client.cookies.items() if key != "csrftoken"]
        sent = {"Referer": "https://testserver/", **sent, "X-CSRF-Token": token}
    if pairs:
        sent["Cookie"] = "; ".join(pairs)
    response = Browser().client.generic(
        method,
        _path(name),
        body,
        content_type=data.draw(content_types),
        secure=True,
        headers=sent,
        query_params=data.draw(queries),
    )
    _judge(response, method)


@fuzz
@given(data=st.data())
def test_a_strangers_noise_is_never_a_defect(limits_off: None, data: st.DataObject) -> None:
    """R22: a list for a body, a NUL, a lone surrogate, a number for a name."""
    _attack(data)


@fuzz
@given(data=st.data())
def test_json_behind_the_csrf_check_is_never_a_defect(limits_off: None, data: st.DataObject) -> None:
    """R22: well-formed JSON of any shape to each endpoint that reads a body."""
    browser = Browser()
    browser.client.raise_request_exception = False
    name = data.draw(st.sampled_from(["login", "otp-approve", "otp-resend", "refresh", "logout"]))
    value = data.draw(objects | json_values)
    response = browser.post(name, json.dumps(value))
    _judge(response, "POST")
    if not isinstance(value, dict):
        assert response.status_code == 400


@fuzz
@given(email=st.text(max_size=300), password=st.text(max_size=300), remember=json_values)
def test_any_text_may_be_typed_at_sign_in(limits_off: None, email: str, password: str, remember: Any) -> None:
    browser = Browser()
    browser.client.raise_request_exception = False
    body = {"email": email, "password": password}
    if not isinstance(remember, bool):
        typed = browser.post("login", json.dumps({**body, "remember_me": remember}))
        assert typed.status_code == 400
    response = browser.post("login", json.dumps(body))
    _judge(response, "POST")
    assert response.status_code in {400, 401}


@fuzz
@given(code=st.text(max_size=12) | json_values)
def test_any_code_may_be_typed(limits_off: None, code: Any) -> None:
    browser = Browser()
    browser.client.raise_request_exception = False
    response = browser.post("otp-approve", json.dumps({"otp_code": code}))
    _judge(response, "POST")
    is_code = isinstance(code, str) and len(code) == 6 and code.isascii() and code.isdigit()
    assert response.status_code == (401 if is_code else 400)


@fuzz
@given(data=st.data())
def test_a_members_noise_is_never_a_defect(limits_off: None, data: st.DataObject) -> None:
    """R22: behind the authentication too."""
    browser = _signed_in()
    name = data.draw(st.sampled_from(["me", "session-list", "session-detail", "apikey-list", *sorted(WITH_ID)]))
    method = data.draw(st.sampled_from(METHODS[:8]))
    response = browser.request(
        method, _path(name), data.draw(bodies), headers={"Accept": data.draw(st.sampled_from(["*/*", "text/html"]))}
    )
    _judge(response, method)


moments = st.datetimes(timezones=st.none() | st.timezones()).map(lambda value: value.isoformat())
key_bodies = st.fixed_dictionaries(
    {"name": st.text(max_size=110) | json_values},
    optional={
        "scopes": json_values | st.lists(st.text(max_size=70), max_size=3),
        "expires_at": json_values | moments,
        "rate_limit": json_values | st.from_regex(r"\A[0-9]{1,12}/[0-9]{0,9}[smhdx]\Z"),
        "allowed_networks": json_values | st.lists(st.ip_addresses().map(str) | st.text(max_size=50), max_size=3),
    },
)


@fuzz
@given(body=key_bodies)
def test_any_json_may_be_sent_for_an_api_key(limits_off: None, body: dict[str, Any]) -> None:
    """R22: what is taken can be read back, and the rest is named by its field."""
    APIKey.objects.all().delete()  # or the limit of keys would answer for everything else
    browser = _signed_in()
    response = browser.post("apikey-list", body)
    _judge(response, "POST")
    assert response.status_code in {201, 400}
    if response.status_code == 201:
        made = response.json()
        listed = {row["id"]: row for row in browser.get("apikey-list").json()["results"]}
        assert made.pop("key").split("_")[2] == made["public_id"]
        assert listed[made["id"]] == made
    elif response.status_code == 400 and "errors" in response.json():
        assert response.json()["errors"].keys() <= body.keys()


@fuzz
@given(key=header_values)
def test_any_header_may_be_sent_as_an_api_key(limits_off: None, key: str) -> None:
    for path in ("program", "key-only"):
        response = Browser().request("GET", reverse(path), headers={"X-API-Key": key})
        assert response.status_code == 401
        _judge(response, "GET")


def _signed_in() -> Browser:
    browser = Browser()
    browser.client.raise_request_exception = False
    user: Any = get_user_model()._default_manager.first() or make_user()
    sign_in(browser.client, user)
    return browser


# --- tokens in bodies


BODY = {"X-Token-Transport": "body"}
# An endpoint, what it wants besides, and the token that its body may carry.
IN_BODY: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("login", {"email": "ana@example.com", "password": "a wrong password"}, "device_token"),
    ("otp-approve", {"otp_code": "123456"}, "challenge_token"),
    ("otp-approve", {"otp_code": "123456", "challenge_token": opaque.new_secret()}, "device_token"),
    ("otp-resend", {}, "challenge_token"),
    ("refresh", {}, "refresh_token"),
)


@pytest.fixture
def opened(configure: Callable[..., None]) -> Session:
    """A session, in a project that hands tokens out in bodies."""
    configure(ALLOW_TOKEN_IN_BODY=True)
    sign_in(Browser().client, make_user())
    return Session.objects.get()


def _forged(session: Session) -> st.SearchStrategy[str]:
    """Well-formed to the last bit of their checksum, and not ours; some name a session that there is."""
    ids = st.sampled_from([session.pk.bytes, bytes(16)]) | st.binary(min_size=16, max_size=16)
    generations = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2])
    mac, tag = st.binary(min_size=32, max_size=32), st.binary(min_size=4, max_size=4)
    refresh = st.builds(opaque._REFRESH.pack, st.integers(0, 2), tag, ids, generations, mac)
    return (refresh | mac).map(opaque._with_checksum)


@fuzz
@given(data=st.data())
def test_a_strangers_noise_is_never_a_defect_where_tokens_may_be_in_bodies(
    limits_off: None, opened: Session, data: st.DataObject
) -> None:
    """R22: the header lifts the CSRF check, so that everything behind it is met."""
    _attack(data, **BODY)


@fuzz
@given(data=st.data())
def test_any_token_may_be_sent_in_a_body(limits_off: None, opened: Session, data: st.DataObject) -> None:
    """R22: any JSON, any text, any well-formed token; a forged one ends no session."""
    browser = Browser()
    browser.client.raise_request_exception = False
    name, rest, field = data.draw(st.sampled_from(IN_BODY))
    body = {**rest, field: data.draw(_forged(opened) | st.text(max_size=300) | json_values)}
    response = browser.post(name, json.dumps(body), csrf=False, headers=BODY)
    _judge(response, "POST")
    assert response.status_code in {400, 401}, response.content
    assert Session.objects.alive().count() == 1


# --- the admin's door: pages, not problems


ADMIN_STATUS = {200, 400, 403, 413}
form_fields = st.sampled_from(["username", "password", "otp_code", "next", "this_is_the_login_form"])
raw_forms = st.lists(st.tuples(form_fields.map(str.encode), st.binary(max_size=40)).map(b"=".join), max_size=4).map(
    b"&".join
)


@pytest.fixture
def root() -> Any:
    return make_staff()


@fuzz
@given(data=st.dictionaries(form_fields | st.text(max_size=12), st.text(max_size=300), max_size=5), right=st.booleans())
def test_any_text_may_be_typed_at_the_admins_door(limits_off: None, root: Any, data: Any, right: bool) -> None:
    """Of a stranger, and beside the right name; the answer is the form again."""
    if right:
        data["username"] = root.get_username()
    assert Browser().form(reverse("admin:login"), data).status_code == 200


@pytest.mark.django_db(transaction=True)  # the code is mailed after the commit
@fuzz
@given(code=st.text(max_size=12), where=st.text(max_size=60))
def test_any_code_may_be_typed_at_the_admins_door(limits_off: None, root: Any, code: str, where: str) -> None:
    browser = Browser()
    browser.form(reverse("admin:login"), {"username": root.get_username(), "password": PASSWORD})
    assert browser.has("challenge")
    right = last_code()
    response = browser.form(reverse("admin:login"), {"otp_code": code, "next": where})
    assert response.status_code == (302 if code == right else 200)


@fuzz
@given(
    method=st.sampled_from(METHODS),
    body=bodies | raw_forms,
    kind=content_types
    | st.sampled_from(["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=x"]),
    sent=headers,
    query=queries,
    proven=st.booleans(),
)
def test_any_bytes_may_be_sent_to_the_admins_door(
    limits_off: None, method: str, body: bytes, kind: str, sent: dict[str, str], query: dict[str, str], proven: bool
) -> None:
    """A page, or a refusal of Django's own; past its CSRF check, and in front of it."""
    browser = Browser()
    if proven:
        sent = {"Referer": "https://testserver/", **sent, "X-CSRF-Token": browser.csrf()}
    response = browser.client.generic(
        method, reverse("admin:login"), body, content_type=kind, secure=True, headers=sent, query_params=query
    )
    assert response.status_code in ADMIN_STATUS, (response.status_code, response.content)


# --- every method, and size


@pytest.mark.control("ASVS-2.2.2", "ASVS-4.1.1")
@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("method", METHODS[:8])
def test_each_method_of_each_endpoint_has_a_documented_answer(limits_off: None, name: str, method: str) -> None:
    for browser in (Browser(), _signed_in()):
        browser.client.raise_request_exception = False
        _judge(browser.request(method, _path(name)), method)


@pytest.mark.control("ASVS-2.4.1")
def test_a_large_body_is_refused_before_it_is_read(limits_off: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """R29: a megabyte of password reaches no hasher."""
    monkeypatch.setattr("django_secure_auth.passwords.services.authenticate", None)
    browser = Browser()
    body = json.dumps({"email": "ana@example.com", "password": "x" * 1_000_000})
    response = browser.post("login", body)
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    response = browser.post("login", {"email": "ana@example.com", "password": "x" * 257})
    assert response.status_code == 400
