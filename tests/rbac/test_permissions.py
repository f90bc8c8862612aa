"""What a view may ask for, alone and composed; what a refusal says, and what is told of it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS, AllowAny, BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.permissions import (
    ApprovedByEmail,
    HasAnyRole,
    HasPermission,
    HasRole,
    HasScope,
    RecentlyAuthenticated,
)
from django_secure_auth.rbac.services import Access, attach, grant
from django_secure_auth.request_scope import Credentials, scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import sign_in
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from tests.browser import Browser, make_user, named, url
from tests.rbac.conftest import permission
from tests.urls import urlpatterns as suite

SECOND = timedelta(seconds=1)


def request_of(age: timedelta | None, **auth: Any) -> Request:
    request = Request(HttpRequest())
    auth_time = timezone.now() - age if age is not None else None
    user: Any = SimpleNamespace(is_authenticated=True, is_staff=False)
    request.auth, request.user = SimpleNamespace(auth_time=auth_time, **auth), user
    return request


def passes(permission: Any, age: timedelta | None) -> bool:
    """Whether it lets a request pass, asked the way DRF does: what stands in `permission_classes` is called."""
    return bool(permission().has_permission(request_of(age), None))


@pytest.mark.control("ASVS-7.5.1")
def test_the_default_is_the_setting(settings: Any) -> None:
    assert passes(RecentlyAuthenticated, 299 * SECOND)
    assert not passes(RecentlyAuthenticated, 301 * SECOND)
    settings.DJANGO_SECURE_AUTH = {"STEP_UP_MAX_AGE": 10 * SECOND}
    assert passes(RecentlyAuthenticated, 9 * SECOND)
    assert not passes(RecentlyAuthenticated, 11 * SECOND)


def test_a_view_may_ask_for_other_minutes() -> None:
    assert passes(RecentlyAuthenticated(minutes=60), 3599 * SECOND)
    assert not passes(RecentlyAuthenticated(minutes=60), 3601 * SECOND)
    assert passes(RecentlyAuthenticated(minutes=0.5), 29 * SECOND)
    assert not passes(RecentlyAuthenticated(minutes=0.5), 31 * SECOND)


def test_zero_minutes_are_never_recent() -> None:
    assert not passes(RecentlyAuthenticated(minutes=0), SECOND)


@pytest.mark.parametrize("auth", [None, object(), SimpleNamespace(auth_time=None), "a token"])
def test_what_says_no_time_is_not_recent(auth: Any) -> None:
    request = request_of(None)
    request.auth = auth
    assert not RecentlyAuthenticated().has_permission(request, None)


def test_a_key_is_never_recent() -> None:
    """It may have been made a year ago, by somebody who has left the desk since."""
    assert not RecentlyAuthenticated().has_permission(request_of(SECOND, kind="api_key"), None)


OLD, NEW = 3000 * SECOND, SECOND
# Instances: the stubs know `& | ~` of classes only.
FIVE: Any = RecentlyAuthenticated(minutes=5)
HUNDRED: Any = RecentlyAuthenticated(minutes=100)


@pytest.mark.parametrize(
    ("composed", "when_new", "when_old"),
    [
        (IsAuthenticated & RecentlyAuthenticated, True, False),
        (RecentlyAuthenticated & IsAuthenticated, True, False),
        (IsAuthenticated & FIVE, True, False),
        (FIVE & IsAuthenticated, True, False),
        (FIVE & HUNDRED, True, False),
        (FIVE | HUNDRED, True, True),
        (FIVE | IsAdminUser, True, False),
        (IsAdminUser | FIVE, True, False),
        (~RecentlyAuthenticated, False, True),
        (~FIVE, False, True),
        (~FIVE & IsAuthenticated, False, True),
    ],
)
def test_it_composes(composed: Any, when_new: bool, when_old: bool) -> None:
    assert passes(composed, NEW) is when_new
    assert passes(composed, OLD) is when_old


# --- roles, permissions, scopes ----------------------------------------------------------------------


def who(*roles: str, permissions: tuple[str, ...] = (), kind: str = "cookie", **auth: Any) -> Request:
    """A request of somebody with these roles, who is no row of any table."""
    request = Request(HttpRequest())
    user: Any = SimpleNamespace(is_authenticated=True, is_active=True, is_staff=False, pk=1)
    attach(user, Access(frozenset(roles), frozenset(permissions), False, None))
    request.user = user
    request.auth = Credentials(None, auth.pop("amr", ("pwd",)), timezone.now(), kind, **auth)
    return request


def lets(permission: Any, request: Request) -> bool:
    """Whether it lets pass; what it says of an object never differs, alone."""
    asked = permission()
    answer = bool(asked.has_permission(request, None))
    assert bool(asked.has_object_permission(request, None, object())) is answer
    return answer


def test_has_role_asks_for_all_and_has_any_role_for_one() -> None:
    assert lets(HasRole("a"), who("a", "b"))
    assert lets(HasRole("a", "b"), who("a", "b"))
    assert not lets(HasRole("a", "c"), who("a", "b"))
    assert lets(HasAnyRole("a", "c"), who("a", "b"))
    assert not lets(HasAnyRole("c", "d"), who("a", "b"))


@pytest.mark.parametrize("misspelt", ["Editor", "editor ", "ed", "editors"])
def test_a_misspelt_role_refuses(misspelt: str) -> None:
    assert not lets(HasRole(misspelt), who("editor"))


def test_has_permission_asks_roles_and_then_whatever_else_there_is() -> None:
    assert lets(HasPermission("notes.change_note"), who(permissions=("notes.change_note",)))
    assert not lets(HasPermission("notes.change_note"), who(permissions=("notes.view_note",)))
    asked: list[str] = []

    def has_perm(name: str) -> bool:
        asked.append(name)
        return name == "notes.view_note"

    request = who(permissions=("notes.change_note",))
    request.user.has_perm = has_perm  # type: ignore[method-assign,assignment]  # of no model
    assert lets(HasPermission("notes.change_note"), request)
    assert asked == []
    assert lets(HasPermission("notes.view_note"), request)
    assert not lets(HasPermission("notes.delete_note"), request)
    assert set(asked) == {"notes.view_note", "notes.delete_note"}


@pytest.mark.django_db
def test_a_superuser_and_djangos_own_groups_pass_has_permission_and_hold_no_role() -> None:
    root = make_user("root@example.com", is_superuser=True)
    member = make_user("member@example.com")
    group = Group.objects.create(name="one")
    group.permissions.add(permission("auth.view_group"))
    member.groups.add(group)
    for user in (root, member):
        request = who()
        request.user = user
        assert lets(HasPermission("auth.view_group"), request)
        assert not lets(HasRole("admin"), request)


def test_a_key_is_judged_by_its_scopes_a_session_by_roles_and_permissions() -> None:
    """Or a key without any scope could do whatever its owner can."""
    key = who("a", permissions=("x.y",), kind="api_key", scopes=frozenset({"reports:read"}))
    session = who("a", permissions=("x.y",))
    for asked in (HasRole("a"), HasAnyRole("a"), HasPermission("x.y")):
        assert lets(asked, session)
        assert not lets(asked, key)
    assert lets(HasScope("reports:read"), key)
    assert not lets(HasScope("reports:write"), key)
    assert not lets(HasScope("reports:read"), session)
    assert not lets(HasScope("reports:read"), who(kind="bearer", scopes=frozenset({"reports:read"})))
    both = HasScope("reports:read") | HasPermission("x.y")
    assert lets(both, key)
    assert lets(both, session)
    assert not lets(both, who("a"))
    assert not lets(both, who("a", permissions=("x.y",), kind="api_key"))


def test_approved_by_email_asks_for_a_code_from_a_mail() -> None:
    assert lets(ApprovedByEmail(), who(amr=("pwd", "email")))
    assert not lets(ApprovedByEmail(), who(amr=("pwd",)))
    assert lets(ApprovedByEmail, who(amr=("pwd", "email")))


@pytest.mark.parametrize("user", [AnonymousUser(), None, SimpleNamespace(is_active=False, pk=1)])
@pytest.mark.parametrize(
    "asked",
    [HasRole("a"), HasAnyRole("a"), HasPermission("x.y"), HasScope("s"), RecentlyAuthenticated(), ApprovedByEmail()],
)
def test_a_stranger_passes_nothing(asked: Any, user: Any) -> None:
    request = Request(HttpRequest())
    request.user, request.auth = user, None
    assert not lets(asked, request)


@pytest.mark.parametrize(
    "declare",
    [
        HasRole,
        HasAnyRole,
        lambda: HasRole(""),
        lambda: HasRole("a", " "),
        lambda: HasRole(("a", "b")),  # type: ignore[arg-type]  # on purpose
        lambda: HasAnyRole(None),  # type: ignore[arg-type]  # on purpose
        lambda: HasPermission("change_note"),
        lambda: HasPermission(""),
        lambda: HasScope(""),
        lambda: HasScope(None),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_a_declaration_that_asks_for_nothing_is_an_error_where_it_stands(declare: Any) -> None:
    with pytest.raises(ImproperlyConfigured):
        declare()


A: Any = HasRole("a")
B: Any = HasRole("b")
C: Any = HasRole("c")


@pytest.mark.parametrize(
    ("composed", "truth"),
    [
        (A & B, lambda a, b, c: a and b),
        (A | B, lambda a, b, c: a or b),
        (~A, lambda a, b, c: not a),
        (A & ~B, lambda a, b, c: a and not b),
        (~(A | B), lambda a, b, c: not (a or b)),
        (~(A & B), lambda a, b, c: not (a and b)),
        (~~A, lambda a, b, c: a),
        ((A & B) | C, lambda a, b, c: (a and b) or c),
        (A & (B | C), lambda a, b, c: a and (b or c)),
        ((A | B) & (B | C), lambda a, b, c: (a or b) and (b or c)),
        # DRF's own on the left
        (IsAuthenticated & A, lambda a, b, c: a),
        (IsAuthenticated & A & B, lambda a, b, c: a and b),
        (IsAdminUser | A | B, lambda a, b, c: a or b),
        (IsAuthenticated & (A | B), lambda a, b, c: a or b),
        (~(IsAuthenticated & A), lambda a, b, c: not a),
        (~(IsAdminUser | A) & B, lambda a, b, c: not a and b),
        (A & (IsAuthenticated & B), lambda a, b, c: a and b),
        (A | (IsAdminUser & B), lambda a, b, c: a),
        (~(~(IsAuthenticated & A)), lambda a, b, c: a),
        (A & AllowAny, lambda a, b, c: a),
    ],
)
def test_composed_they_are_the_logic_that_they_look_like(composed: Any, truth: Any) -> None:
    for number in range(8):
        held = [name for place, name in enumerate("abc") if number >> place & 1]
        request, asked = who(*held), composed()
        expected = bool(truth(*(name in held for name in "abc")))
        assert bool(asked.has_permission(request, None)) is expected
        assert bool(asked.has_object_permission(request, None, object())) is expected


@pytest.mark.parametrize(
    ("composed", "expected"),
    [
        (~A, False),
        (~~A, False),
        (~(A | B), False),
        (~(A & HasScope("other")), False),
        (~HasPermission("x.y"), False),
        (~FIVE, False),
        (~HasScope("other"), True),
        (~HasScope("reports:read"), False),
        (~~HasScope("reports:read"), True),
        (~(HasScope("other") | HasScope("another")), True),
        (HasScope("reports:read") & ~A, False),
        (HasScope("reports:read") & ~HasScope("other"), True),
    ],
)
def test_what_says_nothing_of_keys_does_not_let_one_in_by_its_negation(composed: Any, expected: bool) -> None:
    assert lets(composed, who(kind="api_key", scopes=("reports:read",))) is expected


class RefusesObjects(AllowAny):
    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return False


def test_an_operand_that_judges_objects_is_asked_about_them() -> None:
    request = who("a")
    assert not (A & RefusesObjects)().has_object_permission(request, None, object())
    assert (A | RefusesObjects)().has_object_permission(request, None, object())
    assert not (B | RefusesObjects)().has_object_permission(request, None, object())


# --- in a view ---------------------------------------------------------------------------------------


class GuardedView(APIView):
    authentication_classes = (JWTCookieAuthentication,)
    permission_classes: Any = (IsAuthenticated, RecentlyAuthenticated(minutes=5))

    def get(self, request: Request) -> Response:
        return Response({})


class OpenView(GuardedView):
    permission_classes: Any = (AllowAny,)


OLD_PROOF: Any = RecentlyAuthenticated(minutes=0)
VIEWS: dict[str, tuple[Any, ...]] = {
    "role": (A,),
    "either": (A | B,),
    "either-again": (IsAdminUser | A | B,),
    "both": (A & B & OLD_PROOF,),
    "theirs": (IsAuthenticated & A & OLD_PROOF,),
    "proof": (A | OLD_PROOF,),
    "not": (~B,),
    "foreign": (A & IsAdminUser,),
    "foreign-again": (A & (IsAuthenticated & B),),
    "permission": (HasPermission("x.y"),),
    "scope": (HasScope("reports:read"),),
    "email": (ApprovedByEmail,),
    "and-then-more": (A | B, IsAdminUser),
}


class SafeMethods(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS


class FormView(GenericAPIView[Any]):
    """OPTIONS tells what a form would need, for whom may send it: DRF asks the permissions for a POST that is none."""

    authentication_classes = (JWTCookieAuthentication,)
    permission_classes: Any = (SafeMethods | A,)
    serializer_class = Serializer

    def post(self, request: Request) -> Response:
        return Response({})


urlpatterns = [
    *suite,
    path("guarded/", GuardedView.as_view()),
    path("open/", OpenView.as_view()),
    path("form/", FormView.as_view()),
    *(
        path(f"{name}/", type("View", (GuardedView,), {"permission_classes": asked}).as_view())
        for name, asked in VIEWS.items()
    ),
]


@pytest.mark.control("ASVS-7.5.1", "ASVS-10.3.4")
@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_stranger_is_told_to_sign_in_and_an_old_session_to_prove_itself_again(ana: Any) -> None:
    client = Client()
    response = client.get("/guarded/")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    session = sign_in(client, ana)
    assert client.get("/guarded/").status_code == 200
    Session.objects.filter(pk=session.pk).update(auth_time=timezone.now() - timedelta(minutes=6))
    response = client.get("/guarded/")
    assert (response.status_code, response.json()["code"]) == (403, "step_up_required")
    assert client.get("/open/").status_code == 200


@pytest.fixture
def visitor(ana: Any) -> Client:
    client = Client()
    sign_in(client, ana)
    return client


REFUSED: list[tuple[str, tuple[str, ...], str, dict[str, list[str]]]] = [
    ("role", (), "permission_denied", {"required_roles": ["a"]}),
    ("either", (), "permission_denied", {"required_roles": ["a", "b"]}),
    ("both", (), "permission_denied", {"required_roles": ["a"]}),
    ("both", ("a",), "permission_denied", {"required_roles": ["b"]}),
    ("both", ("a", "b"), "step_up_required", {"required_proof": ["recent"]}),
    ("theirs", (), "permission_denied", {"required_roles": ["a"]}),
    ("theirs", ("a",), "step_up_required", {"required_proof": ["recent"]}),
    ("proof", (), "step_up_required", {"required_roles": ["a"], "required_proof": ["recent"]}),
    ("not", ("b",), "permission_denied", {"required_roles": ["not b"]}),
    ("foreign", ("a",), "permission_denied", {"required": ["IsAdminUser"]}),
    ("foreign-again", ("a",), "permission_denied", {"required_roles": ["b"]}),
    ("permission", (), "permission_denied", {"required_permissions": ["x.y"]}),
    ("scope", (), "permission_denied", {"required_scopes": ["reports:read"]}),
    ("email", (), "permission_denied", {"required_proof": ["email"]}),
]


@pytest.mark.control("LOGVOC-authz_fail", "ASVS-16.3.2")
@pytest.mark.urls(__name__)
@pytest.mark.django_db
@pytest.mark.parametrize(("name", "held", "code", "details"), REFUSED)
def test_a_refusal_has_its_code_and_is_told_with_what_was_asked_for(
    visitor: Client, ana: Any, name: str, held: tuple[str, ...], code: str, details: dict[str, list[str]]
) -> None:
    for role in held:
        grant(ana, Role.objects.create(name=role))
    response = visitor.get(f"/{name}/")
    assert (response.status_code, response.json()["code"]) == (403, code)
    (event,) = named("authz_fail")
    assert event.details == {"resource": f"/{name}/", "reason": code, **details}
    assert (event.user_id, event.session_id) == (str(ana.pk), str(Session.objects.get().pk))
    assert event.severity == "MEDIUM"


@pytest.mark.urls(__name__)
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("either", ("b",)),
        ("either-again", ("b",)),
        ("either-again", ("a",)),
        ("proof", ("a",)),
        ("not", ()),
        ("foreign-again", ("a", "b")),
    ],
)
def test_an_alternative_that_passed_is_no_refusal(visitor: Client, ana: Any, name: str, held: tuple[str, ...]) -> None:
    for role in held:
        grant(ana, Role.objects.create(name=role))
    assert visitor.get(f"/{name}/").status_code == 200
    assert named("authz_fail") == []


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_refusal_of_another_permission_is_not_put_down_to_ours(visitor: Client, ana: Any) -> None:
    grant(ana, Role.objects.create(name="b"))
    assert visitor.get("/and-then-more/").status_code == 403
    assert named("authz_fail") == []


@pytest.mark.urls(__name__)
@pytest.mark.django_db
@pytest.mark.parametrize("name", ["role", "either", "both", "theirs", "permission", "scope", "email"])
def test_a_stranger_gets_401_and_that_is_told_too(name: str) -> None:
    response = Client().get(f"/{name}/")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    told = named("authz_fail")
    # `IsAuthenticated & …` ends before ours is asked.
    assert [event.user_id for event in told] == ([] if name == "theirs" else [""])


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_stranger_who_knocks_for_ever_does_not_fill_the_table() -> None:
    for _ in range(30):
        Client().get("/role/")
    assert len(named("authz_fail")) == 20


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_what_options_asks_and_does_not_do_is_no_refusal(visitor: Client) -> None:
    response = visitor.options("/form/")
    assert (response.status_code, "actions" in response.json()) == (200, False)
    assert named("authz_fail") == []


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
def test_under_an_async_server_it_is_told_as_well() -> None:
    response = async_to_sync(AsyncClient().get)("/role/")
    assert response.status_code == 401
    assert len(named("authz_fail")) == 1


def test_two_requests_at_once_do_not_share_a_code() -> None:
    """What stands in `permission_classes` is one object for all threads; what it makes is one for each request."""
    composed = A & OLD_PROOF
    first, second = composed(), composed()
    assert not first.has_permission(who("a"), None)
    assert not second.has_permission(who(), None)
    assert (first.code, second.code) == ("step_up_required", "permission_denied")
    assert (first.message is None, second.message is None) == (False, True)


def test_a_pass_leaves_no_note() -> None:
    request = who("a")
    assert not B.has_permission(request, None)
    assert scope_of(request).refusal is not None
    assert A.has_permission(request, None)
    assert scope_of(request).refusal is None


@pytest.mark.control("ASVS-8.3.1")
@pytest.mark.django_db(transaction=True)
def test_roles_that_a_client_claims_have_no_effect(browser: Browser) -> None:
    """In the body, a header, a cookie, the query, or a token that it has signed itself."""
    user = make_user()
    browser.sign_in()
    browser.client.cookies["roles"] = "admin"
    claims = {"roles": ["admin"], "is_staff": True, "is_superuser": True, "permissions": ["*"]}
    headers = {"X-Roles": "admin", "X-User": "root", "Remote-User": "root", "X-Forwarded-User": "root"}
    assert browser.patch("me", claims, headers=headers).status_code == 400
    assert browser.request("GET", url("me") + "?roles=admin", headers=headers).json()["roles"] == []
    fresh = type(user)._default_manager.get(pk=user.pk)
    assert not getattr(fresh, "is_staff", False)
    header, payload, _ = browser.value("access").split(".")
    read = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    made = urlsafe_b64encode(json.dumps({**read, **claims}).encode()).decode().rstrip("=")
    browser.put("access", f"{header}.{made}.{'A' * 43}")
    assert browser.me().status_code == 401
