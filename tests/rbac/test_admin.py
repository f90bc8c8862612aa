"""Roles and grants in the admin: who may change them, what a form says, and what the trail tells of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.rbac.models import Role, RoleAssignment
from django_secure_auth.rbac.services import grant, has_role, roles_of
from tests.browser import PASSWORD, Browser, admin_browser, last_code, make_user, named, session_of
from tests.rbac.conftest import fresh, permission

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(editor: Role) -> Browser:
    return admin_browser("root@example.com")


def root_id() -> str:
    model = get_user_model()
    return str(model._default_manager.get(**{model.get_email_field_name(): "root@example.com"}).pk)


def page(model: str, what: str, *args: Any) -> str:
    return reverse(f"admin:django_secure_auth_{model}_{what}", args=args)


def role_form(**values: Any) -> dict[str, Any]:
    return {"name": "editor", "description": "", "permissions": [], "parents": [], **values}


def grant_form(user: Any, role: Role, **values: Any) -> dict[str, Any]:
    form = {"user": user.pk, "role": role.pk, "content_type": "", "object_id": ""}
    return {**form, "expires_at_0": "", "expires_at_1": "", **values}


def errors_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.context["adminform"].form.errors)


# --- roles -------------------------------------------------------------------------------------------


@pytest.mark.control("LOGVOC-privilege_permissions_changed")
def test_a_role_is_changed_at_once_and_told_with_from_and_to(root: Browser, ana: Any, editor: Role) -> None:
    grant(ana, editor)
    reader = Role.objects.get(name="reader")
    added = permission("auth.add_group")
    form = role_form(name="author", permissions=[added.pk], requires_otp="on")
    assert root.form(page("role", "change", editor.pk), form).status_code == 302
    assert fresh(ana).get_all_permissions() == {"auth.add_group"}
    assert roles_of(fresh(ana)) == {"author"}
    (event,) = named("privilege_permissions_changed")
    assert event.details == {
        "role": "author",
        "from": {
            "name": "editor", "second_step": False, "permissions": ["auth.change_group"], "parents": ["reader"],
        },
        "to": {"name": "author", "second_step": True, "permissions": ["auth.add_group"], "parents": []},
    }  # fmt: skip
    assert (event.actor_id, event.ip_address) == (root_id(), "203.0.113.5")
    assert root.form(page("role", "change", editor.pk), form | {"description": "Writes."}).status_code == 302
    assert len(named("privilege_permissions_changed")) == 1  # nothing that anybody may do has changed
    assert reader.children.count() == 0


def test_a_role_is_made_and_deleted_and_both_are_told(root: Browser, editor: Role) -> None:
    reader = Role.objects.get(name="reader")
    assert root.form(page("role", "add"), role_form(name="new", parents=[reader.pk])).status_code == 302
    new = Role.objects.get(name="new")
    assert root.form(page("role", "delete", new.pk), {"post": "yes"}).status_code == 302
    bulk = {"action": "delete_selected", "_selected_action": [reader.pk, editor.pk], "post": "yes"}
    assert root.form(page("role", "changelist"), bulk).status_code == 302
    assert not Role.objects.exists()
    made, deleted, *both = named("privilege_permissions_changed")
    everything = {"name": "new", "second_step": False, "permissions": [], "parents": ["reader"]}
    assert made.details == {"role": "new", "from": dict.fromkeys(everything), "to": everything}
    assert deleted.details == {"role": "new", "from": everything, "to": dict.fromkeys(everything)}
    assert [event.details["role"] for event in both] == ["editor", "reader"]
    assert {event.actor_id for event in (made, deleted, *both)} == {root_id()}


def test_a_cycle_is_an_error_of_the_form(root: Browser, editor: Role) -> None:
    reader = Role.objects.get(name="reader")
    for role, parents in ((reader, [editor.pk]), (editor, [editor.pk]), (reader, [reader.pk, editor.pk])):
        response = root.form(page("role", "change", role.pk), role_form(name=role.name, parents=parents))
        assert "cannot inherit from itself" in errors_of(response)
    assert list(editor.parents.all()) == [reader]
    assert not reader.parents.exists()
    assert named("privilege_permissions_changed") == []


def test_the_list_counts_who_was_granted_a_role(root: Browser, ana: Any, ben: Any, editor: Role) -> None:
    grant(ana, editor)
    grant(ana, editor, obj=Group.objects.create(name="one"))
    grant(ben, editor, until=timezone.now() + timedelta(days=1))
    RoleAssignment.objects.filter(user=ben.pk).update(expires_at=timezone.now())
    assert b'<td class="field-holders">1</td>' in root.page(page("role", "changelist")).content
    assert root.page(page("role", "change", editor.pk)).status_code == 200
    assert root.page(page("role", "change", 9999)).status_code == 302


# --- grants ------------------------------------------------------------------------------------------


@pytest.mark.control("LOGVOC-authz_change")
def test_a_grant_is_made_changed_and_taken_back_and_told(root: Browser, ana: Any, editor: Role) -> None:
    """R36: the actor is who did it."""
    assert root.form(page("roleassignment", "add"), grant_form(ana, editor)).status_code == 302
    assignment = RoleAssignment.objects.get()
    assert str(assignment.granted_by_id) == root_id()
    assert has_role(fresh(ana), "editor")
    where = page("roleassignment", "change", assignment.pk)
    unchanged = {"expires_at_0": "", "expires_at_1": ""}
    assert root.form(where, unchanged).status_code == 302
    assert root.form(where, {"expires_at_0": "2999-01-01", "expires_at_1": "12:00:00"}).status_code == 302
    assert has_role(fresh(ana), "editor")
    assert root.form(page("roleassignment", "delete", assignment.pk), {"post": "yes"}).status_code == 302
    assert not has_role(fresh(ana), "editor")
    told = named("authz_change")
    assert [event.details["change"] for event in told] == ["granted", "granted", "revoked"]
    assert told[1].details["until"] == "2999-01-01T12:00:00+00:00"
    assert {(event.user_id, event.actor_id, event.ip_address) for event in told} == {
        (str(ana.pk), root_id(), "203.0.113.5")
    }


def test_grants_are_taken_back_from_the_list(root: Browser, ana: Any, ben: Any, editor: Role) -> None:
    pks = [grant(user, editor).pk for user in (ana, ben)]
    bulk = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    assert root.form(page("roleassignment", "changelist"), bulk).status_code == 302
    assert not has_role(fresh(ana), "editor")
    revoked = [event for event in named("authz_change") if event.details["change"] == "revoked"]
    assert {event.user_id for event in revoked} == {str(ana.pk), str(ben.pk)}
    assert {event.actor_id for event in revoked} == {root_id()}


def test_on_an_object_whatever_its_key(root: Browser, ana: Any, editor: Role) -> None:
    session = session_of(Browser().sign_in("root@example.com"))
    group = Group.objects.create(name="one")
    for thing, typed in ((group, f"0{group.pk}"), (session, str(session.pk))):
        kind = ContentType.objects.get_for_model(thing)
        form = grant_form(ana, editor, content_type=kind.pk, object_id=typed)
        assert root.form(page("roleassignment", "add"), form).status_code == 302
        assert has_role(ana, "editor", thing)
        assert "holds this role already" in errors_of(root.form(page("roleassignment", "add"), form))
    listed = root.page(page("roleassignment", "changelist")).content.decode()
    assert session.pk.hex in listed


def test_what_a_form_says_before_the_database_does(root: Browser, ana: Any, editor: Role) -> None:
    kind = ContentType.objects.get_for_model(Group).pk
    for values, complaint in (
        ({"content_type": kind, "object_id": "99999"}, "There is no such object"),
        ({"content_type": kind, "object_id": "x"}, "There is no such object"),
        ({"content_type": kind}, "a kind of object and an object"),
        ({"object_id": "1"}, "a kind of object and an object"),
        ({"user": ""}, "This field is required"),
    ):
        response = root.form(page("roleassignment", "add"), grant_form(ana, editor) | values)
        assert complaint in errors_of(response)
    grant(ana, editor)
    response = root.form(page("roleassignment", "add"), grant_form(ana, editor))
    assert "holds this role already" in errors_of(response)
    assert RoleAssignment.objects.count() == 1


def test_grants_are_found_by_user_and_filtered_by_state(root: Browser, ana: Any, ben: Any, editor: Role) -> None:
    grant(ana, editor)
    grant(ben, editor)
    RoleAssignment.objects.filter(user=ben.pk).update(expires_at=timezone.now())

    def count(query: str) -> int:
        return int(root.page(page("roleassignment", "changelist") + query).context["cl"].result_count)

    assert count("") == 2
    assert count("?q=ana@example.com") == 1
    assert count("?state=live") == 1
    assert count("?state=expired") == 1


def test_who_grants_needs_the_permission_to_change_roles_too(ana: Any, editor: Role) -> None:
    """Whoever grants could grant himself anything."""
    boss = make_user("boss@example.com", is_staff=True)
    helper = Role.objects.create(name="helper")
    for name in ("add", "change", "delete", "view"):
        helper.permissions.add(permission(f"django_secure_auth.{name}_roleassignment"))
    grant(boss, helper)
    assignment = grant(ana, editor)
    browser = Browser()
    browser.form(reverse("admin:login"), {"username": boss.get_username(), "password": PASSWORD})
    assert browser.form(reverse("admin:login"), {"otp_code": last_code()}).status_code == 302
    assert browser.page(page("roleassignment", "changelist")).status_code == 200
    attempts = [
        (page("roleassignment", "add"), grant_form(boss, editor)),
        (page("roleassignment", "change", assignment.pk), {"expires_at_0": "2999-01-01", "expires_at_1": "12:00:00"}),
        (page("roleassignment", "delete", assignment.pk), {"post": "yes"}),
    ]
    for where, form in attempts:
        assert browser.form(where, form).status_code == 403
    helper.permissions.add(permission("django_secure_auth.change_role"))
    for where, form in attempts:
        assert browser.form(where, form).status_code == 302
    assert has_role(fresh(boss), "editor")
    assert not has_role(fresh(ana), "editor")
