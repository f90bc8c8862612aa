"""Grant, revoke, ask: everywhere and on single objects, for ever and until a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.models import Session as DjangoSession
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.rbac.models import Role, RoleAssignment, UserAccess, key_field, object_key
from django_secure_auth.rbac.services import (
    NOTHING,
    access_of,
    grant,
    has_role,
    queryset_for,
    revoke,
    roles_of,
)
from django_secure_auth.signals import role_granted, role_revoked
from tests.browser import Clock, make_user, named
from tests.rbac.conftest import fresh, permission

pytestmark = pytest.mark.django_db


class Heard:
    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def __call__(self, signal: Any, sender: Any, **arguments: Any) -> None:
        assert sender is RoleAssignment
        self.told.append({"signal": signal, **arguments})


@pytest.fixture
def heard() -> Any:
    listener = Heard()
    for signal in (role_granted, role_revoked):
        signal.connect(listener)
    yield listener.told
    for signal in (role_granted, role_revoked):
        signal.disconnect(listener)


# --- everywhere --------------------------------------------------------------------------------------


def test_a_role_and_what_it_inherits_are_held_until_it_is_revoked(ana: Any, ben: Any, editor: Role) -> None:
    assert roles_of(ana) == frozenset()
    assignment = grant(ana, "editor", by=ben)
    assert assignment.granted_by_id == ben.pk
    assert str(assignment) == f"role {editor.pk} of user {ana.pk}"
    assert str(editor) == "editor"
    for user in (ana, fresh(ana)):
        assert roles_of(user) == {"editor", "reader"}
        assert has_role(user, "reader")
        assert access_of(user).permissions == {"auth.view_group", "auth.change_group"}
    assert not has_role(ben, "reader")
    assert revoke(ana, editor) is True
    for user in (ana, fresh(ana)):
        assert roles_of(user) == frozenset()
    assert revoke(ana, editor) is False


def test_what_is_inherited_is_revoked_with_what_it_came_from(ana: Any, editor: Role) -> None:
    grant(ana, editor)
    assert revoke(ana, "reader") is False
    assert has_role(ana, "reader")


def test_a_name_that_no_role_has_is_an_error_to_grant_and_held_by_nobody(ana: Any, editor: Role) -> None:
    with pytest.raises(Role.DoesNotExist, match="There is no role 'Editor'. Roles are: editor, reader"):
        grant(ana, "Editor")
    with pytest.raises(Role.DoesNotExist):
        revoke(ana, "edtior")
    grant(ana, editor)
    assert not has_role(ana, "Editor")
    Role.objects.all().delete()
    with pytest.raises(Role.DoesNotExist, match="none yet"):
        grant(ana, "editor")


def test_granting_again_changes_until_when_and_by_whom(ana: Any, ben: Any, editor: Role, heard: Any) -> None:
    first = grant(ana, editor)
    assert grant(ana, editor, by=ben) == first  # nothing would be different
    first.refresh_from_db()
    assert first.granted_by is None
    until = timezone.now() + timedelta(days=1)
    grant(ana, editor, until=until, by=ben)
    first.refresh_from_db()
    assert (first.expires_at, first.granted_by) == (until, ben)
    grant(ana, editor)
    first.refresh_from_db()
    assert (first.expires_at, first.granted_by) == (None, None)
    assert RoleAssignment.objects.count() == 1
    assert len(named("authz_change")) == 3


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (datetime(2999, 1, 1), "time zone"),  # noqa: DTZ001  # on purpose
        (timezone.now() - timedelta(seconds=1), "not in the future"),
    ],
)
def test_until_is_a_moment_to_come(ana: Any, editor: Role, until: datetime, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        grant(ana, editor, until=until)
    assert not RoleAssignment.objects.exists()


def test_an_expired_grant_does_not_count(ana: Any, editor: Role, clock: Clock) -> None:
    group = Group.objects.create(name="one")
    grant(ana, editor, until=timezone.now() + timedelta(minutes=5))
    grant(ana, "reader", until=timezone.now() + timedelta(minutes=9))
    grant(ana, editor, obj=group, until=timezone.now() + timedelta(minutes=2))
    assert has_role(ana, "editor", group)
    clock.forward(minutes=3)
    assert roles_of(ana) == {"editor", "reader"}
    assert "editor" not in roles_of(fresh(ana), Group(pk=group.pk)) - roles_of(ana)
    clock.forward(minutes=3)
    for user in (ana, fresh(ana)):  # the same instance too: it knows until when
        assert roles_of(user) == {"reader"}
        assert access_of(user).permissions == {"auth.view_group"}
    clock.forward(minutes=4)
    assert roles_of(ana) == frozenset()
    assert [assignment.is_live for assignment in RoleAssignment.objects.all()] == [False] * 3


@pytest.mark.parametrize("nobody", [None, AnonymousUser()])
def test_nobody_holds_anything(nobody: Any, editor: Role) -> None:
    assert access_of(nobody) == NOTHING
    assert roles_of(nobody, Group.objects.create(name="one")) == frozenset()
    assert not queryset_for(nobody, "auth.view_group", Group).exists()


def test_who_is_inactive_or_not_saved_holds_nothing(ana: Any, editor: Role) -> None:
    group = Group.objects.create(name="one")
    grant(ana, editor)
    grant(ana, editor, obj=group)
    ana.is_active = False
    ana.is_superuser = True
    assert roles_of(ana, group) == frozenset()
    assert not queryset_for(ana, "auth.view_group", Group).exists()
    assert roles_of(type(ana)()) == frozenset()


def test_a_role_is_asked_for_once_for_each_instance(ana: Any, editor: Role, django_assert_num_queries: Any) -> None:
    grant(ana, editor)
    access_of(fresh(ana))  # computes it
    user = fresh(ana)
    with django_assert_num_queries(1):
        assert has_role(user, "editor")
        assert not has_role(user, "admin")
        assert access_of(user).permissions


def test_who_never_had_a_role_has_no_summary(ana: Any, editor: Role, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert access_of(ana) == NOTHING
    assert not UserAccess.objects.exists()
    grant(ana, editor)
    assert str(UserAccess.objects.get()) == f"access of user {ana.pk}"


# --- on objects --------------------------------------------------------------------------------------


def new_challenge() -> OTPChallenge:
    now = timezone.now()
    return OTPChallenge.objects.create(
        email="x@example.com", secret_digest=uuid4().hex, key_id="k", account_fingerprint="f", expires_at=now,
        resend_at=now,
    )  # fmt: skip


def new_group() -> Group:
    return Group.objects.create(name=uuid4().hex)


def new_django_session() -> DjangoSession:
    return DjangoSession.objects.create(session_key=uuid4().hex, session_data="", expire_date=timezone.now())


KINDS: list[tuple[Callable[[], Any], str]] = [
    (new_group, "auth.view_group"),
    (new_challenge, "django_secure_auth.view_otpchallenge"),
    (new_django_session, "sessions.view_session"),
]


@pytest.mark.parametrize(("new", "name"), KINDS, ids=["int", "uuid", "text"])
def test_a_role_on_an_object_counts_there_and_nowhere_else(ana: Any, ben: Any, new: Any, name: str) -> None:
    """R33: whatever the key is, the list is filtered in SQL, in one query."""
    role = Role.objects.create(name="viewer")
    role.permissions.add(permission(name))
    mine, other = new(), new()
    assignment = grant(ana, role, obj=mine)
    assert RoleAssignment.objects.get().object == mine
    assert assignment.scope in str(assignment)
    for user in (ana, fresh(ana)):
        assert roles_of(user) == frozenset()
        assert roles_of(user, mine) == {"viewer"}
        assert has_role(user, "viewer", mine)
        assert not has_role(user, "viewer", other)
        assert not has_role(user, "viewer", ben)
        assert user.has_perm(name, mine)
        assert not user.has_perm(name, other)
        assert not user.has_perm(name)
    assert list(RoleAssignment.objects.for_object(mine).for_user(ana)) == [assignment]
    user = fresh(ana)
    access_of(user)
    with CaptureQueriesContext(connection) as captured:
        assert list(queryset_for(user, name, type(mine))) == [mine]
    assert len(captured) == 1
    assert not queryset_for(ben, name, type(mine)).exists()
    assert revoke(ana, role, obj=other) is False
    assert revoke(ana, role, obj=mine) is True
    assert not has_role(ana, "viewer", mine)
    assert not queryset_for(fresh(ana), name, type(mine)).exists()


def test_a_list_is_one_query_however_many_grants_and_rows_there_are(ana: Any, editor: Role) -> None:
    """R33: five or two hundred."""
    user = fresh(ana)
    for number in (5, 200):
        groups = Group.objects.bulk_create(Group(name=f"{number}-{one}") for one in range(number))
        RoleAssignment.objects.bulk_create(RoleAssignment(user=ana, role=editor, object=group) for group in groups)
        access_of(user)
        with CaptureQueriesContext(connection) as captured:
            assert len(queryset_for(user, "auth.view_group", Group)) == RoleAssignment.objects.count()
        assert len(captured) == 2  # the second is the test's own count


@pytest.mark.database("postgresql")
@pytest.mark.parametrize("kind", [0, 1], ids=["int", "uuid"])
def test_the_list_uses_the_index_of_the_key(ana: Any, ben: Any, kind: int) -> None:
    """R33: a thousand of many; as the key's own type, or PostgreSQL would read them all."""
    new, name = KINDS[kind]
    role = Role.objects.create(name="viewer")
    role.permissions.add(permission(name))
    model: Any = type(new())
    now = timezone.now()
    rows = [
        model(name=f"g{number}")
        if model is Group
        else model(
            email="x@example.com", secret_digest=uuid4().hex, key_id="k", account_fingerprint="f", expires_at=now,
            resend_at=now,
        )
        for number in range(20_000)
    ]  # fmt: skip
    made = model.objects.bulk_create(rows, batch_size=5000)
    for user, part in ((ana, made[:20]), (ben, made[20:5000])):
        RoleAssignment.objects.bulk_create(
            [RoleAssignment(user=user, role=role, object=one) for one in part], batch_size=5000
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    listed = queryset_for(fresh(ana), name, model)
    plan = listed.order_by().explain()
    for table in (model._meta.db_table, RoleAssignment._meta.db_table):
        assert f"Seq Scan on {table}" not in plan, plan
    assert listed.count() == 20


def test_who_holds_it_everywhere_or_is_superuser_sees_all(ana: Any, editor: Role) -> None:
    new_group()
    new_group()
    grant(ana, "reader")
    assert queryset_for(ana, "auth.view_group", Group).count() == 2
    assert queryset_for(ana, "auth.change_group", Group).count() == 0
    root = make_user("root@example.com", is_superuser=True)
    assert queryset_for(root, "auth.change_group", Group).count() == 2


def test_the_list_agrees_with_has_perm(ana: Any, editor: Role) -> None:
    groups = [new_group() for _ in range(12)]
    for number, group in enumerate(groups):
        if number % 2:
            grant(ana, "reader", obj=group)
        if number % 3:
            grant(ana, editor, obj=group)
    user = fresh(ana)
    for name in ("auth.view_group", "auth.change_group", "auth.delete_group"):
        listed = set(queryset_for(user, name, Group))
        assert listed == {group for group in groups if user.has_perm(name, group)}


@pytest.mark.parametrize("name", ["view_group", "auth.", ".view_group", ""])
def test_a_permission_is_named_with_its_app(ana: Any, name: str) -> None:
    with pytest.raises(ValueError, match="named with its app"):
        queryset_for(ana, name, Group)


def test_an_object_that_was_not_saved_is_no_object(ana: Any, editor: Role) -> None:
    with pytest.raises(ValueError, match="has not been saved"):
        grant(ana, editor, obj=Group(name="new"))
    grant(ana, editor)
    assert roles_of(ana, Group()) == {"editor", "reader"}


@isolate_apps("tests")
def test_keys_that_are_no_names_are_refused_and_children_have_their_parents_key() -> None:
    class Priced(models.Model):
        price = models.DecimalField(primary_key=True, max_digits=5, decimal_places=2)

        class Meta:
            app_label = "tests"

    class SubGroup(Group):
        class Meta:
            app_label = "tests"

    with pytest.raises(TypeError, match="DecimalField"):
        object_key(Priced, 1)
    assert isinstance(key_field(SubGroup), models.AutoField)
    assert object_key(SubGroup, "007") == "7"
    assert object_key(OTPChallenge, "6ba7b810-9dad-11d1-80b4-00c04fd430c8") == "6ba7b8109dad11d180b400c04fd430c8"


# --- what is told ------------------------------------------------------------------------------------


@pytest.mark.control("LOGVOC-authz_change")
def test_every_grant_and_its_end_are_told(
    ana: Any, ben: Any, editor: Role, heard: Any, django_capture_on_commit_callbacks: Any
) -> None:
    until = timezone.now() + timedelta(days=1)
    group = new_group()
    with django_capture_on_commit_callbacks(execute=True):
        on = grant(ana, editor, obj=group, until=until, by=ben)
        grant(ana, editor)
        revoke(ana, editor, by=ben)
        assert heard == []  # after commit
    place = {"content_type_id": on.content_type_id, "object_id": str(group.pk)}
    everywhere = {"content_type_id": None, "object_id": ""}
    who: dict[str, Any] = {"user_id": ana.pk, "role": "editor"}
    assert heard == [
        {"signal": role_granted, **who, **place, "by_id": ben.pk, "expires_at": until},
        {"signal": role_granted, **who, **everywhere, "by_id": None, "expires_at": None},
        {"signal": role_revoked, **who, **everywhere, "by_id": ben.pk},
    ]
    granted, shell, revoked = named("authz_change")
    assert granted.details == {"change": "granted", "role": "editor", "until": until.isoformat(), **place}
    assert (granted.user_id, granted.actor_id) == (str(ana.pk), str(ben.pk))
    assert (shell.user_id, shell.actor_id) == (str(ana.pk), "")
    assert revoked.details == {"change": "revoked", "role": "editor", "until": None, **everywhere}
    assert {event.severity for event in (granted, shell, revoked)} == {"INFO"}


def test_a_grant_that_somebody_else_has_revoked_meanwhile_is_not_told_twice(
    ana: Any, editor: Role, monkeypatch: Any
) -> None:
    grant(ana, editor)
    real = RoleAssignment.objects.filter

    def late(*args: Any, **options: Any) -> Any:
        RoleAssignment._base_manager.filter(user=ana.pk).delete()
        return real(*args, **options)

    monkeypatch.setattr(RoleAssignment.objects, "filter", late)
    assert revoke(ana, editor) is False
    assert [event.details["change"] for event in named("authz_change")] == ["granted"]


def test_a_user_that_is_no_row_of_ours_is_fine(editor: Role) -> None:
    """Whoever authenticates in another way may have users that are no models."""
    assert roles_of(SimpleNamespace(is_active=True, pk=None)) == frozenset()  # type: ignore[arg-type]  # on purpose
