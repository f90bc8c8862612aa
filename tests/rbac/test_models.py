"""What the tables hold by themselves, whoever writes: a service, the admin, a shell."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from django_secure_auth.rbac.models import Role, RoleAssignment, RoleLink, UserAccess
from django_secure_auth.rbac.services import access_of
from django_secure_auth.sessions.models import Session
from tests.browser import make_user
from tests.rbac.conftest import fresh

pytestmark = pytest.mark.django_db


def roles_now(user: Any) -> frozenset[str]:
    return access_of(fresh(user)).roles


@pytest.fixture
def editor() -> Role:
    return Role.objects.create(name="editor")


def test_a_user_holds_a_role_once_in_each_place(ana: Any, editor: Role) -> None:
    group = Group.objects.create(name="one")
    RoleAssignment.objects.create(user=ana, role=editor)
    RoleAssignment.objects.create(user=ana, role=editor, object=group)
    for place in (None, group):
        with pytest.raises(IntegrityError), transaction.atomic():
            RoleAssignment.objects.create(user=ana, role=editor, object=place)
        with pytest.raises(ValidationError, match="holds this role already"):
            RoleAssignment(user=ana, role=editor, object=place).clean()


def test_an_object_without_its_kind_is_no_global_grant(ana: Any, editor: Role) -> None:
    kind = ContentType.objects.get_for_model(Group)
    for wrong in ({"object_id": "1"}, {"content_type": kind}):
        with pytest.raises(ValidationError, match="a kind of object and an object"):
            RoleAssignment(user=ana, role=editor, **wrong).clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        RoleAssignment.objects.create(user=ana, role=editor, object_id="1")
    with pytest.raises(ValidationError), transaction.atomic():
        RoleAssignment.objects.create(user=ana, role=editor, content_type=kind)
    assignment = RoleAssignment.objects.create(user=ana, role=editor, object=Group.objects.create(name="one"))
    with pytest.raises(IntegrityError), transaction.atomic():
        RoleAssignment.objects.filter(pk=assignment.pk).update(content_type=None)


def test_a_key_is_stored_in_one_spelling(ana: Any, editor: Role) -> None:
    kind = ContentType.objects.get_for_model(Session)
    key = uuid4()
    assignment = RoleAssignment.objects.create(user=ana, role=editor, content_type=kind, object_id=str(key).upper())
    assert (assignment.object_id, assignment.scope) == (key.hex, f"{kind.pk}:{key.hex}")
    assert RoleAssignment.objects.filter(object_id=key).exists()


def test_an_app_that_is_gone_leaves_its_grants_as_they_are(ana: Any, editor: Role) -> None:
    kind = ContentType.objects.create(app_label="gone", model="thing")
    assignment = RoleAssignment.objects.create(user=ana, role=editor, content_type=kind, object_id="07")
    assert assignment.scope == f"{kind.pk}:07"
    with pytest.raises(ValidationError, match="no such object"):
        RoleAssignment(user=ana, role=editor, content_type=kind, object_id="07").clean()


@pytest.mark.parametrize("object_id", ["0", "x", "99999"])
def test_a_form_must_name_an_object_that_there_is(ana: Any, editor: Role, object_id: str) -> None:
    kind = ContentType.objects.get_for_model(Group)
    with pytest.raises(ValidationError, match="no such object"):
        RoleAssignment(user=ana, role=editor, content_type=kind, object_id=object_id).clean()


def test_a_grant_moves_with_all_it_gives(ana: Any, editor: Role) -> None:
    """To another user, and from everywhere to one object."""
    ben = make_user("ben@example.com")
    assignment = RoleAssignment.objects.create(user=ana, role=editor)
    assert roles_now(ana) == {"editor"}
    assignment.user = ben
    assignment.save()
    assert (roles_now(ana), roles_now(ben)) == (frozenset(), {"editor"})
    assignment.object = Group.objects.create(name="one")
    assignment.save()
    assert roles_now(ben) == frozenset()


def test_bulk_ways_hold_at_once_too(ana: Any, editor: Role) -> None:
    ben = make_user("ben@example.com")
    Role.objects.bulk_create([Role(name="boss"), Role(name="other")])
    assert RoleLink.objects.count() == 3
    RoleAssignment.objects.bulk_create([RoleAssignment(user=ana, role=Role.objects.get(name="boss"))])
    assert roles_now(ana) == {"boss"}
    Role.objects.filter(name="boss").update(name="chief")
    assert roles_now(ana) == {"chief"}
    chief = Role.objects.get(name="chief")
    chief.name = "head"
    Role.objects.bulk_update([chief], ["name"])
    assert roles_now(ana) == {"head"}
    RoleAssignment.objects.filter(user=ana.pk).update(user=ben)
    assert (roles_now(ana), roles_now(ben)) == (frozenset(), {"head"})
    RoleAssignment.objects.all().delete()
    assert roles_now(ben) == frozenset()


def test_a_role_that_is_saved_without_a_change_makes_nobody_stale(ana: Any, editor: Role) -> None:
    RoleAssignment.objects.create(user=ana, role=editor)
    version = UserAccess.objects.get().version
    editor.description = "Writes."
    editor.save()
    assert UserAccess.objects.get().version == version
    editor.name = "author"
    editor.save()
    assert UserAccess.objects.get().version != version
    assert roles_now(ana) == {"author"}


def test_a_new_permission_makes_nobody_stale(ana: Any, editor: Role) -> None:
    RoleAssignment.objects.create(user=ana, role=editor)
    version = UserAccess.objects.get().version
    Permission.objects.create(codename="x", name="x", content_type=ContentType.objects.get_for_model(Group))
    assert UserAccess.objects.get().version == version


def test_a_user_goes_with_all_that_is_derived(ana: Any, editor: Role) -> None:
    """The deletion takes the summary, and makes no new one."""
    RoleAssignment.objects.create(user=ana, role=editor)
    RoleAssignment.objects.create(user=ana, role=editor, object=Group.objects.create(name="one"))
    ana.delete()
    assert not RoleAssignment.objects.exists()
    assert not UserAccess.objects.exists()


def test_who_granted_may_go(ana: Any, editor: Role) -> None:
    ben = make_user("ben@example.com")
    RoleAssignment.objects.create(user=ana, role=editor, granted_by=ben)
    ben.delete()
    assert RoleAssignment.objects.get().granted_by is None
    assert roles_now(ana) == {"editor"}


def test_a_fixture_can_be_loaded_over_what_it_was_made_of(ana: Any, editor: Role) -> None:
    """`dumpdata` holds the derived rows as well; none of them collides with what the receivers make."""
    reader = Role.objects.create(name="reader")
    reader.permissions.add(Permission.objects.order_by("pk")[0])
    editor.parents.add(reader)
    RoleAssignment.objects.create(user=ana, role=editor)
    assert roles_now(ana) == {"editor", "reader"}
    tables = (Role, RoleLink, RoleAssignment, UserAccess)
    dumped = serializers.serialize("json", [row for table in tables for row in table._default_manager.all()])
    Role.objects.all().delete()
    UserAccess.objects.all().delete()
    for row in serializers.deserialize("json", dumped):
        row.save()
    assert roles_now(ana) == {"editor", "reader"}
    assert RoleLink.objects.count() == 3
