"""Every endpoint of the example project × every kind of caller → the status that is expected.

The rows are made from the URLconf: a URL, or a method of one, that has no row here fails, and so does a row without a
status for one of the callers. A caller sends the CSRF token and a right body, so that only who it is decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.middleware.csrf import get_token
from django.test import RequestFactory
from django.utils import timezone

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.rbac.models import Role, RoleAssignment
from django_secure_auth.rbac.services import grant
from django_secure_auth.routes import ANY_METHOD, Route, routes
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session
from django_secure_auth.testing import sign_in
from testproject.notes.models import Note
from tests.browser import PASSWORD, Browser, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("testproject.urls")]
ROOT = Path(__file__).resolve().parent.parent

B = TypeVar("B", bound=Browser)
Key = tuple[str, str]
"""Method, and name of the URL, or its path where it has none."""


@dataclass
class World:
    """What there is: a user who owns things, one who does not, and the things."""

    owner: Any
    other: Any
    session: Session
    """The owner's, on another device than the one that calls."""
    key: APIKey
    note: Note


@pytest.fixture
def world(settings: Any) -> World:
    # What the example project has and the suite's settings have not.
    settings.CODES_IN_CONSOLE = False
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [ROOT / "testproject" / "templates"]}]
    settings.DJANGO_SECURE_AUTH = {
        **settings.DJANGO_SECURE_AUTH,
        "API_KEY_SCOPES": {"reports:read": "reports.view_report"},
        "BASE_URL": "https://app.example",
        "SECURITY_TXT": {"contact": "mailto:security@example.com", "expires": timezone.now() + timedelta(days=90)},
    }
    owner, other = make_user("ana@example.com"), make_user("ben@example.com")
    return World(
        owner=owner,
        other=other,
        session=sign_in(Browser().client, owner),
        key=create_key(owner, name="backup")[0],
        note=Note.objects.create(owner=owner, title="Plan"),
    )


# --- callers -----------------------------------------------------------------------------------------


def _with_csrf(browser: B) -> B:
    request = RequestFactory().get("/")
    browser.token = get_token(request)
    browser.client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
    return browser


def _browser_of(user: Any = None) -> Browser:
    browser = _with_csrf(Browser())
    if user is not None:
        sign_in(browser.client, user)
    return browser


def anonymous(world: World) -> Browser:
    return _browser_of()


def other_user(world: World) -> Browser:
    return _browser_of(world.other)


def owner(world: World) -> Browser:
    return _browser_of(world.owner)


def revoked_session(world: World) -> Browser:
    browser = _browser_of(world.owner)
    for session in Session.objects.exclude(pk=world.session.pk):
        end_session(session.pk, user_id=world.owner.pk, reason="test")
    return browser


def role(world: World) -> Browser:
    return _browser_of(_holder("editor", "ed@example.com"))


def wrong_role(world: World) -> Browser:
    return _browser_of(_holder("reader", "rea@example.com"))


def expired_grant(world: World) -> Browser:
    user = _holder("editor", "late@example.com")
    browser = _browser_of(user)
    RoleAssignment.objects.filter(user=user).update(expires_at=timezone.now() - timedelta(seconds=1))
    return browser


def key_with_scope(world: World) -> Browser:
    return _program("reports:read")


def key_without_scope(world: World) -> Browser:
    return _program()


def expired_key(world: World) -> Browser:
    program = _program("reports:read")
    now = timezone.now()
    APIKey.objects.exclude(pk=world.key.pk).update(
        created_at=now - timedelta(days=2), expires_at=now - timedelta(days=1)
    )
    return program


def _holder(name: str, email: str) -> Any:
    """Somebody who has a role. Editors may see reports as well."""
    found, is_new = Role.objects.get_or_create(name=name)
    if is_new and name == "editor":
        found.permissions.add(Permission.objects.get(codename="view_report"))
    user = make_user(email)
    grant(user, found)
    return user


class _Program(Browser):
    """Holds an API key and no cookie but the CSRF token's."""

    key = ""

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return super().request(method, path, body, headers={"X-API-Key": self.key}, **more)


def _program(*scopes: str) -> Browser:
    program = _with_csrf(_Program())
    keeper = get_user_model()._default_manager.filter(**{"email": "keys@example.com"}).first()
    _, program.key = create_key(keeper or _holder("editor", "keys@example.com"), name="job", scopes=scopes)
    return program


Caller = Callable[[World], Browser]
PEOPLE: dict[str, Caller] = {
    one.__name__: one for one in (anonymous, other_user, owner, role, wrong_role, expired_grant, revoked_session)
}
KEYS: dict[str, Caller] = {one.__name__: one for one in (key_with_scope, key_without_scope, expired_key)}
CALLERS = PEOPLE | KEYS

# --- rows --------------------------------------------------------------------------------------------


def everybody(status: int) -> dict[str, int]:
    return dict.fromkeys(CALLERS, status)


def people(status: int) -> dict[str, int]:
    """Everybody who comes without a key: our own endpoints take none, not even beside nothing."""
    return dict.fromkeys(PEOPLE, status) | dict.fromkeys(KEYS, 401)


def signed_in(status: int, **others: int) -> dict[str, int]:
    return {**people(status), "anonymous": 401, "revoked_session": 401, **others}


def owners(status: int) -> dict[str, int]:
    return signed_in(404, owner=status)


ROWS: dict[Key, dict[str, int]] = {
    ("GET", "demo"): everybody(200),
    ("GET", "reset-password"): everybody(200),
    ("GET", "not-me"): everybody(200),
    ("GET", "undo-email"): everybody(200),
    ("GET", "icon"): everybody(200),
    ("GET", "/favicon.ico"): everybody(200),
    ("GET", "schema"): everybody(200),
    ("GET", "docs"): everybody(200),
    ("GET", "secure_auth_well_known:security-txt"): everybody(200),
    ("GET", "secure_auth_well_known:change-password"): everybody(404),  # not set here
    ("POST", "csp-report"): everybody(415),  # JSON, which no browser's report is
    ("POST", "link-preview"): signed_in(422),  # what is inside is refused
    ("GET", "admin:login"): everybody(200),
    ("POST", "admin:login"): everybody(200),  # the form again, with what is wrong
    ("GET", "secure_auth:csrf"): people(200),
    ("POST", "secure_auth:login"): people(202),
    ("POST", "secure_auth:otp-approve"): people(401),  # holds no challenge
    ("POST", "secure_auth:otp-resend"): people(401),
    ("POST", "secure_auth:refresh"): signed_in(200),
    ("POST", "secure_auth:logout"): people(204),
    ("POST", "secure_auth:register"): people(202),
    ("POST", "secure_auth:register-verify"): people(401),  # holds no challenge
    ("POST", "secure_auth:password-reset"): people(202),
    ("POST", "secure_auth:password-reset-confirm"): people(401),  # holds no link
    ("POST", "secure_auth:email-change"): signed_in(202),
    ("POST", "secure_auth:email-undo"): people(401),  # holds no link
    ("POST", "secure_auth:not-me"): people(401),  # holds no link
    ("POST", "secure_auth:reauthenticate"): signed_in(202),
    ("POST", "secure_auth:password-change"): signed_in(204),
    ("GET", "secure_auth:me"): signed_in(200),
    ("PATCH", "secure_auth:me"): signed_in(200),
    ("DELETE", "secure_auth:me"): signed_in(204),
    ("GET", "secure_auth:export"): signed_in(200),
    ("GET", "secure_auth:device-list"): signed_in(200),
    ("POST", "secure_auth:device-list"): signed_in(202),
    ("DELETE", "secure_auth:device-detail"): owners(204),
    ("GET", "secure_auth:session-list"): signed_in(200),
    ("DELETE", "secure_auth:session-list"): signed_in(204),
    ("DELETE", "secure_auth:session-detail"): owners(204),
    ("GET", "secure_auth:activity"): signed_in(200),
    ("GET", "secure_auth:apikey-list"): signed_in(200),
    ("POST", "secure_auth:apikey-list"): signed_in(201),
    ("PATCH", "secure_auth:apikey-detail"): owners(200),
    ("DELETE", "secure_auth:apikey-detail"): owners(204),
    ("POST", "secure_auth:apikey-rotate"): owners(201),
    ("GET", "secure_auth:jwks"): everybody(200),
    ("GET", "note-list"): signed_in(200),
    ("POST", "note-list"): signed_in(201),
    ("GET", "note-detail"): owners(200),
    ("PUT", "note-detail"): owners(200),
    ("PATCH", "note-detail"): owners(200),
    ("DELETE", "note-detail"): owners(204),
    ("POST", "note-publish"): signed_in(403, role=200),
    ("GET", "reports"): signed_in(403, role=200, key_with_scope=200, key_without_scope=403),
}
# Where many URLs have the same before them, and more come with each table: by pattern. A row of its own goes first.
FAMILIES: dict[str, dict[str, int]] = {
    "admin:*": everybody(302),  # to its sign-in, whoever is no staff
    "/admin/*": everybody(302),
}
BODIES: dict[Key, dict[str, Any]] = {
    ("POST", "secure_auth:login"): {"email": "ana@example.com", "password": PASSWORD},
    ("POST", "secure_auth:otp-approve"): {"otp_code": "123456"},
    ("POST", "secure_auth:register"): {"email": "new@example.com", "password": PASSWORD},
    ("POST", "secure_auth:register-verify"): {"otp_code": "123456"},
    ("POST", "secure_auth:password-reset"): {"email": "ana@example.com"},
    ("POST", "secure_auth:password-reset-confirm"): {"uid": "x", "token": "y", "new_password": PASSWORD},
    ("POST", "secure_auth:email-change"): {"new_email": "new@example.com"},
    ("POST", "secure_auth:email-undo"): {"uid": "x", "token": "y"},
    ("POST", "secure_auth:not-me"): {"uid": "x", "token": "y"},
    ("POST", "secure_auth:reauthenticate"): {"password": PASSWORD},
    ("POST", "secure_auth:password-change"): {"current_password": PASSWORD, "new_password": "another long one"},
    ("PATCH", "secure_auth:me"): {},
    ("POST", "secure_auth:apikey-list"): {"name": "export"},
    ("PATCH", "secure_auth:apikey-detail"): {"name": "export"},
    ("POST", "note-list"): {"title": "Plan"},
    ("PUT", "note-detail"): {"title": "Plan", "body": "new"},
    ("PATCH", "note-detail"): {"title": "Plan"},
    ("POST", "note-publish"): {},
    ("POST", "link-preview"): {"url": "http://127.0.0.1/"},
}


def device_of(user: Any) -> TrustedDevice:
    expires_at = timezone.now() + timedelta(days=1)
    return TrustedDevice.objects.create(user=user, secret_digest="0" * 64, expires_at=expires_at)


ARGUMENTS: dict[str, Callable[[World], Any]] = {
    "session_id": lambda world: world.session.pk,
    "key_id": lambda world: world.key.pk,
    "device_id": lambda world: device_of(world.owner).pk,
    "pk": lambda world: world.note.pk,
    "object_id": lambda world: world.owner.pk,
    "content_type_id": lambda world: 1,
    "id": lambda world: world.owner.pk,
    "app_label": lambda world: "auth",
    "url": lambda world: "nowhere/",
}
"""What stands in a path, by the name of the parameter: things of the owner's."""


# Open to who is not signed in, for the holder of another credential.
OWN_PROOF = {
    "secure_auth:otp-approve", "secure_auth:otp-resend", "secure_auth:refresh", "secure_auth:register-verify",
    "secure_auth:password-reset-confirm", "secure_auth:email-undo", "secure_auth:not-me",
}  # fmt: skip

# --- machinery ---------------------------------------------------------------------------------------

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")


def endpoints() -> dict[Key, Route]:
    """Every method of every URL; a view that takes any is asked with GET and with POST."""
    return {
        (method, route.name or route.path): route
        for route in routes("testproject.urls")
        for method in (("GET", "POST") if route.methods == (ANY_METHOD,) else route.methods)
    }


ENDPOINTS = endpoints()


def expected_of(key: Key) -> Mapping[str, int] | None:
    families = [row for pattern, row in FAMILIES.items() if fnmatchcase(key[1], pattern)]
    return ROWS.get(key) or next(iter(families), None)


def ask(key: Key, browser: Any, world: World) -> int:
    path = _PARAMETER.sub(lambda found: str(ARGUMENTS[found[1] or found[2]](world)), ENDPOINTS[key].path)
    return int(browser.request(key[0], path, BODIES.get(key)).status_code)


@pytest.mark.control("ASVS-8.1.1")
def test_every_endpoint_has_a_row() -> None:
    """A new URL does not get by without saying who may call it."""
    assert [key for key in ENDPOINTS if expected_of(key) is None] == []


def test_every_row_is_that_of_an_endpoint() -> None:
    assert sorted(ROWS.keys() - ENDPOINTS.keys()) == []
    assert sorted(BODIES.keys() - ENDPOINTS.keys()) == []
    for pattern in FAMILIES:
        assert any(fnmatchcase(name, pattern) for _, name in ENDPOINTS), pattern


def test_every_row_knows_every_caller() -> None:
    for key, row in [*ROWS.items(), *FAMILIES.items()]:
        assert set(row) == set(CALLERS), key


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_a_caller_meets_the_expected_status(key: Key, caller: str, world: World) -> None:
    assert ask(key, CALLERS[caller](world), world) == ROWS[key][caller]


@pytest.mark.parametrize("caller", CALLERS)
def test_a_caller_meets_what_the_families_meet(caller: str, world: World) -> None:
    """One sign-in for all of them: who is refused everywhere changes nothing for the next."""
    browser = CALLERS[caller](world)
    keys = [key for key in ENDPOINTS if key not in ROWS]
    met = {key: ask(key, browser, world) for key in keys}
    assert met == {key: (expected_of(key) or {})[caller] for key in keys}


@pytest.mark.control("ASVS-8.2.1")
@pytest.mark.parametrize("key", ENDPOINTS, ids=" ".join)
def test_the_walk_and_the_matrix_say_the_same(key: Key) -> None:
    """What the walk calls closed is closed to strangers, and what it calls open is open, or asks for its own proof."""
    row, route = expected_of(key), ENDPOINTS[key]
    assert row is not None
    is_refused = row["anonymous"] in {302, 401, 403}
    assert is_refused is (not route.is_open or key[1] in OWN_PROOF)
