"""Every endpoint of the example project × every kind of caller → the status that is expected.

The rows are made from the URLconf: a URL, or a method of one, that has no row here fails, and so does a row without a
status for one of the callers. A caller sends the CSRF token and a right body, so that only who it is decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from django.middleware.csrf import get_token
from django.test import RequestFactory

from django_secure_auth.routes import ANY_METHOD, Route, routes
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session
from django_secure_auth.testing import sign_in
from tests.browser import PASSWORD, Browser, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("testproject.urls")]
ROOT = Path(__file__).resolve().parent.parent

Key = tuple[str, str]
"""Method, and name of the URL, or its path where it has none."""


@dataclass
class World:
    """What there is: a user who owns things, one who does not, and the things."""

    owner: Any
    other: Any
    session: Session
    """The owner's, on another device than the one that calls."""


@pytest.fixture
def world(settings: Any) -> World:
    # What the example project has and the suite's settings have not.
    settings.CODES_IN_CONSOLE = False
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [ROOT / "testproject" / "templates"]}]
    owner, other = make_user("ana@example.com"), make_user("ben@example.com")
    return World(owner, other, sign_in(Browser().client, owner))


# --- callers -----------------------------------------------------------------------------------------


def _browser_of(user: Any = None) -> Browser:
    browser = Browser()
    request = RequestFactory().get("/")
    browser.token = get_token(request)
    browser.client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
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
    """TODO with rbac: somebody who has the role `editor`."""
    raise NotImplementedError


def wrong_role(world: World) -> Browser:
    """TODO with rbac: somebody who has another role than `editor`."""
    raise NotImplementedError


def expired_grant(world: World) -> Browser:
    """TODO with rbac: somebody whose grant of `editor` is over."""
    raise NotImplementedError


def key_with_scope(world: World) -> Browser:
    """TODO with apikeys: a key of the owner's with the scope that the endpoint asks for, without cookies."""
    raise NotImplementedError


def key_without_scope(world: World) -> Browser:
    """TODO with apikeys: a key of the owner's without a scope."""
    raise NotImplementedError


def expired_key(world: World) -> Browser:
    """TODO with apikeys: a key of the owner's with the scope, past its expiry."""
    raise NotImplementedError


Caller = Callable[[World], Browser]
CALLERS: dict[str, Caller] = {one.__name__: one for one in (anonymous, other_user, owner, revoked_session)}
# Each moves up into CALLERS with its feature; from then on every row below has to say what it meets.
TO_COME: dict[str, Caller] = {
    one.__name__: one for one in (role, wrong_role, expired_grant, key_with_scope, key_without_scope, expired_key)
}

# --- rows --------------------------------------------------------------------------------------------


def everybody(status: int) -> dict[str, int]:
    return dict.fromkeys(CALLERS, status)


def signed_in(status: int) -> dict[str, int]:
    return {"anonymous": 401, "other_user": status, "owner": status, "revoked_session": 401}


ROWS: dict[Key, dict[str, int]] = {
    ("GET", "demo"): everybody(200),
    ("GET", "icon"): everybody(200),
    ("GET", "/favicon.ico"): everybody(200),
    ("GET", "admin:login"): everybody(200),
    ("POST", "admin:login"): everybody(200),  # the form again, with what is wrong
    ("GET", "secure_auth:csrf"): everybody(200),
    ("POST", "secure_auth:login"): everybody(202),
    ("POST", "secure_auth:otp-approve"): everybody(401),  # holds no challenge
    ("POST", "secure_auth:otp-resend"): everybody(401),
    ("POST", "secure_auth:refresh"): signed_in(200),
    ("POST", "secure_auth:logout"): everybody(204),
    ("GET", "secure_auth:me"): signed_in(200),
    ("PATCH", "secure_auth:me"): signed_in(200),
    ("GET", "secure_auth:session-list"): signed_in(200),
    ("DELETE", "secure_auth:session-list"): signed_in(204),
    ("DELETE", "secure_auth:session-detail"): {**signed_in(204), "other_user": 404},
    ("GET", "secure_auth:jwks"): everybody(200),
}
# Where many URLs have the same before them, and more come with each table: by pattern. A row of its own goes first.
FAMILIES: dict[str, dict[str, int]] = {
    "admin:*": everybody(302),  # to its sign-in, whoever is no staff
    "/admin/*": everybody(302),
}
BODIES: dict[Key, dict[str, Any]] = {
    ("POST", "secure_auth:login"): {"email": "ana@example.com", "password": PASSWORD},
    ("POST", "secure_auth:otp-approve"): {"otp_code": "123456"},
    ("PATCH", "secure_auth:me"): {},
}
ARGUMENTS: dict[str, Callable[[World], Any]] = {
    "session_id": lambda world: world.session.pk,
    "object_id": lambda world: world.owner.pk,
    "content_type_id": lambda world: 1,
    "id": lambda world: world.owner.pk,
    "app_label": lambda world: "auth",
    "url": lambda world: "nowhere/",
}
"""What stands in a path, by the name of the parameter: things of the owner's."""


# Open to who is not signed in, for the holder of another credential.
OWN_PROOF = {"secure_auth:otp-approve", "secure_auth:otp-resend", "secure_auth:refresh"}

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


def ask(key: Key, caller: Caller, world: World) -> int:
    path = _PARAMETER.sub(lambda found: str(ARGUMENTS[found[1] or found[2]](world)), ENDPOINTS[key].path)
    response = caller(world).request(key[0], path, BODIES.get(key))
    return int(response.status_code)


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


def test_the_callers_are_those_that_were_asked_for() -> None:
    assert CALLERS.keys() | TO_COME.keys() == {
        "anonymous",
        "other_user",
        "owner",
        "revoked_session",
        "role",
        "wrong_role",
        "expired_grant",
        "key_with_scope",
        "key_without_scope",
        "expired_key",
    }
    assert not CALLERS.keys() & TO_COME.keys()


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_a_caller_meets_the_expected_status(key: Key, caller: str, world: World) -> None:
    assert ask(key, CALLERS[caller], world) == ROWS[key][caller]


@pytest.mark.parametrize("key", [key for key in ENDPOINTS if key not in ROWS], ids=" ".join)
def test_every_caller_meets_what_the_family_meets(key: Key, world: World) -> None:
    """One test for all callers: who is refused everywhere changes nothing for the next."""
    assert {name: ask(key, caller, world) for name, caller in CALLERS.items()} == expected_of(key)


@pytest.mark.parametrize("key", ENDPOINTS, ids=" ".join)
def test_the_walk_and_the_matrix_say_the_same(key: Key) -> None:
    """What the walk calls closed is closed to strangers, and what it calls open is open, or asks for its own proof."""
    row, route = expected_of(key), ENDPOINTS[key]
    assert row is not None
    is_refused = row["anonymous"] in {302, 401, 403}
    assert is_refused is (not route.is_open or key[1] in OWN_PROOF)
