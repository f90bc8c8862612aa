"""A grant and its end hold at the next request, whoever changes what; and a request that asks pays nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, transaction
from django.urls import path
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.rbac.models import Role, RoleAssignment, UserAccess
from django_secure_auth.rbac.permissions import HasPermission, HasRole
from django_secure_auth.rbac.services import access_of, grant, has_role, revoke, roles_of
from django_secure_auth.rbac.state import EVERYBODY, marker_of
from django_secure_auth.sessions import state as states
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, Clock
from tests.rbac.conftest import fresh, permission
from tests.urls import urlpatterns as suite

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
Configure = Callable[..., None]


class RoleView(APIView):
    permission_classes: Any = (HasRole("reader"),)

    def get(self, request: Request) -> Response:
        return Response({})


class PermissionView(RoleView):
    permission_classes = (HasPermission("auth.view_group"),)


class RevokingView(RoleView):
    """A host's view: inside of a transaction with ATOMIC_REQUESTS."""

    permission_classes = ()

    def post(self, request: Request) -> Response:
        user = request.user
        change = grant if request.data["change"] == "grant" else revoke
        change(user, "reader")
        assert has_role(user, "reader") is (change is grant)
        assert has_role(fresh(user), "reader") is (change is grant)  # what it has changed itself it sees, and keeps
        if request.data.get("fail"):
            raise RuntimeError("the host's own defect")
        return Response({})


urlpatterns = [
    *suite,
    path("role/", RoleView.as_view()),
    path("permission/", PermissionView.as_view()),
    path("change/", RevokingView.as_view()),
]


@pytest.fixture(params=["database", "cache"], autouse=True)
def kept(request: pytest.FixtureRequest, settings: Any, configure: Configure) -> str:
    """Every law with and without a state cache. Local memory stands for a shared one: there is one process here."""
    settings.CACHES = {
        **settings.CACHES,
        "states": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "rbac-states"},
    }
    caches["states"].clear()
    configure(STATE_CACHE="states" if request.param == "cache" else None)
    return str(request.param)


@pytest.fixture
def signed_in(ana: Any, editor: Role, browser: Browser) -> Browser:
    browser.sign_in()
    return browser


def passes(browser: Browser) -> bool:
    """Whether a request gets through both ways of asking; they never disagree."""
    statuses = {browser.request("GET", where).status_code for where in ("/role/", "/permission/")}
    assert statuses in ({200}, {403}), statuses
    return statuses == {200}


def warm(browser: Browser) -> None:
    for _ in range(3):
        assert browser.request("GET", "/probe/").status_code == 200


# --- what changes what somebody may do ---------------------------------------------------------------


def rename_permission() -> None:
    one = permission("auth.view_group")
    one.codename = "look_at_group"
    one.save()


def assignment_of(user: Any) -> RoleAssignment:
    return RoleAssignment.objects.get(user=user.pk, scope="")


def expire(user: Any) -> None:
    one = assignment_of(user)
    one.expires_at = timezone.now()
    one.save()


LOSSES: dict[str, Callable[[Any, Role], Any]] = {
    "revoke": revoke,
    "delete the grant": lambda user, role: assignment_of(user).delete(),
    "delete grants": lambda user, role: RoleAssignment.objects.all().delete(),
    "expire": lambda user, role: expire(user),
    "expire in bulk": lambda user, role: RoleAssignment.objects.update(expires_at=timezone.now()),
    "remove the parent": lambda user, role: role.parents.clear(),
    "set other parents": lambda user, role: role.parents.set([]),
    "remove the child": lambda user, role: Role.objects.get(name="reader").children.remove(role),
    "delete the role": lambda user, role: role.delete(),
    "delete the parent": lambda user, role: Role.objects.get(name="reader").delete(),
    "delete roles": lambda user, role: Role.objects.all().delete(),
}
# After these the role is still there; what it carried is not.
LOST_PERMISSIONS: dict[str, Callable[[Any, Role], Any]] = {
    "remove a permission": lambda user, role: Role.objects.get(name="reader").permissions.clear(),
    "remove a permission from its end": lambda user, role: permission("auth.view_group").secure_auth_roles.clear(),
    "remove a role from a permission": lambda user, role: permission("auth.view_group").secure_auth_roles.remove(
        Role.objects.get(name="reader")
    ),
    "delete the permission": lambda user, role: permission("auth.view_group").delete(),
    "rename the permission": lambda user, role: rename_permission(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_was_taken_away_is_away_at_the_next_request(signed_in: Browser, ana: Any, editor: Role, loss: str) -> None:
    grant(ana, editor)
    warm(signed_in)
    assert passes(signed_in)
    LOSSES[loss](ana, editor)
    assert not passes(signed_in)
    assert not passes(signed_in)


@pytest.mark.parametrize("loss", LOST_PERMISSIONS)
def test_so_is_what_a_role_no_longer_carries(signed_in: Browser, ana: Any, editor: Role, loss: str) -> None:
    grant(ana, editor)
    warm(signed_in)
    assert passes(signed_in)
    LOST_PERMISSIONS[loss](ana, editor)
    for _ in range(2):
        assert signed_in.request("GET", "/permission/").status_code == 403
        assert signed_in.request("GET", "/role/").status_code == 200


def give_to_child(user: Any, role: Role) -> None:
    child = Role.objects.create(name="child")
    grant(user, child)
    child.parents.add(role)


def rename_into(user: Any, role: Role) -> None:
    Role.objects.filter(name="reader").delete()
    role.permissions.set([permission("auth.view_group")])
    grant(user, role)
    role.name = "reader"
    role.save()


GAINS: dict[str, Callable[[Any, Role], Any]] = {
    "grant": lambda user, role: grant(user, "reader"),
    "grant what inherits": grant,
    "create": lambda user, role: RoleAssignment.objects.create(user=user, role=role),
    "create in bulk": lambda user, role: RoleAssignment.objects.bulk_create([RoleAssignment(user=user, role=role)]),
    "a new parent": give_to_child,
    "a new name": rename_into,
}


@pytest.mark.parametrize("gain", GAINS)
def test_what_was_given_is_there_at_the_next_request(signed_in: Browser, ana: Any, editor: Role, gain: str) -> None:
    warm(signed_in)
    assert not passes(signed_in)
    GAINS[gain](ana, editor)
    assert passes(signed_in)
    assert passes(signed_in)


def test_a_grant_ends_by_itself(signed_in: Browser, ana: Any, editor: Role, clock: Clock) -> None:
    grant(ana, editor, until=timezone.now() + timedelta(seconds=100))
    warm(signed_in)
    assert passes(signed_in)
    clock.forward(seconds=99)
    assert passes(signed_in)
    clock.forward(seconds=2)
    assert not passes(signed_in)


def test_a_grant_ends_by_itself_in_a_local_copy_too(
    signed_in: Browser, ana: Any, editor: Role, clock: Clock, configure: Configure
) -> None:
    configure(STATE_MAX_AGE=timedelta(seconds=60))
    grant(ana, editor, until=timezone.now() + timedelta(seconds=20))
    warm(signed_in)
    assert passes(signed_in)
    clock.forward(seconds=21)
    assert not passes(signed_in)


def test_others_are_left_alone(signed_in: Browser, ana: Any, ben: Any, editor: Role) -> None:
    grant(ana, editor)
    access_of(fresh(ana))
    before = UserAccess.objects.get(user=ana.pk)
    grant(ben, editor)
    revoke(ben, editor)
    after = UserAccess.objects.get(user=ana.pk)
    assert (before.version, before.computed_version) == (after.version, after.version)


# --- what it costs -----------------------------------------------------------------------------------


@pytest.fixture
def autocommit(monkeypatch: pytest.MonkeyPatch) -> None:
    """BEGIN and COMMIT of a project's own transactions would be counted."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)


def test_a_role_check_and_a_model_permission_cost_no_query(
    signed_in: Browser, ana: Any, editor: Role, kept: str, django_assert_num_queries: Any, autocommit: None
) -> None:
    grant(ana, editor)
    signed_in.request("GET", "/role/")  # acknowledges the token, and computes the summary
    signed_in.request("GET", "/role/")
    if kept == "cache":
        caches["states"].delete(marker_of(ana.pk))  # what lies there for minutes after a change
        caches["states"].delete(EVERYBODY)
        states.refresh_copy(Session.objects.get().pk)
        signed_in.request("GET", "/role/")
    for where in ("/role/", "/permission/", "/probe/"):
        with django_assert_num_queries(0 if kept == "cache" else 1):
            assert signed_in.request("GET", where).status_code == 200


def test_the_first_request_after_a_change_computes_it_in_two_queries_and_writes_it_once(
    signed_in: Browser, ana: Any, editor: Role, kept: str, django_assert_num_queries: Any, autocommit: None
) -> None:
    warm(signed_in)
    grant(ana, editor)
    with django_assert_num_queries(4):
        assert signed_in.request("GET", "/role/").status_code == 200
    with django_assert_num_queries(1):
        assert signed_in.request("GET", "/role/").status_code == 200


def test_roles_are_in_the_answers_of_sign_in_refresh_and_me(ana: Any, editor: Role, browser: Browser) -> None:
    grant(ana, editor)
    expected = ["editor", "reader"]
    assert browser.sign_in().json()["user"]["roles"] == expected
    assert browser.refresh().json()["user"]["roles"] == expected
    assert browser.me().json()["roles"] == expected
    revoke(ana, editor)
    assert browser.refresh().json()["user"]["roles"] == []
    assert browser.me().json()["roles"] == []


# --- races, brought about step by step ---------------------------------------------------------------


def test_a_reader_that_a_change_overtakes_writes_nothing_back(ana: Any, editor: Role, monkeypatch: Any) -> None:
    """Read the version, [revoke], read the old tables, write back: by compare-and-swap, so nothing is written."""
    grant(ana, editor)
    late: list[Any] = []
    monkeypatch.setattr("django_secure_auth.rbac.services.after_transaction", lambda write, using: late.append(write))
    assert has_role(fresh(ana), "editor")
    revoke(ana, editor)
    for write in late:
        assert write() == 0
    monkeypatch.undo()
    assert roles_of(fresh(ana)) == frozenset()


def test_what_was_computed_inside_of_a_transaction_that_is_rolled_back_is_never_believed(
    ana: Any, ben: Any, editor: Role, monkeypatch: Any
) -> None:
    """A counter would come again: the version of the rolled-back change would be that of the next one."""
    grant(ana, "reader")
    late: list[Any] = []
    monkeypatch.setattr("django_secure_auth.rbac.services.after_transaction", lambda write, using: late.append(write))
    with transaction.atomic():
        grant(ana, editor)
        assert has_role(fresh(ana), "editor")
        transaction.set_rollback(True)
    revoke(ana, "reader")
    assert late
    for write in late:
        assert write() == 0
    monkeypatch.undo()
    assert roles_of(fresh(ana)) == frozenset()


@pytest.mark.parametrize("atomic", [False, True])
def test_a_host_that_changes_roles_in_a_request(
    signed_in: Browser, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    assert not passes(signed_in)
    assert signed_in.request("POST", "/change/", {"change": "grant"}).status_code == 200
    assert passes(signed_in)
    assert signed_in.request("POST", "/change/", {"change": "revoke"}).status_code == 200
    assert not passes(signed_in)


def test_a_host_whose_request_is_rolled_back_has_granted_nothing(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    signed_in.client.raise_request_exception = False
    assert signed_in.request("POST", "/change/", {"change": "grant", "fail": True}).status_code == 500
    assert not passes(signed_in)
