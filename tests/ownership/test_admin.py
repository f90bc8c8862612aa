"""The admin for staff who may see their own rows only."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import path

from django_secure_auth.ownership.admin import OwnedAdminMixin
from tests.browser import make_user
from tests.host_app.models import Note, Project, Tag, Task

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

site = admin.AdminSite("host")


@admin.register(Note, site=site)
class NoteAdmin(OwnedAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    fields = ("title", "project", "tags", "tasks")


@admin.register(Task, site=site)
class TaskAdmin(OwnedAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    pass


@admin.register(Project, site=site)
class ProjectAdmin(OwnedAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    pass


site.register(Tag)
urlpatterns = [path("host/", site.urls)]
MISSING = 987654


class World:
    def __init__(self) -> None:
        self.ana, self.ben = (make_user(f"{name}@example.com", is_staff=True) for name in ("ana", "ben"))
        self.root = make_user("root@example.com", is_staff=True, is_superuser=True)
        self.ana.user_permissions.set(Permission.objects.filter(content_type__app_label="host_app"))
        self.own, self.foreign = (Project.objects.create(owner=user, name=name) for user, name in self.pairs())
        self.task, self.foreign_task = (
            Task.objects.create(project=project, title=project.name) for project in (self.own, self.foreign)
        )
        self.note, self.foreign_note = (Note.objects.create(owner=user, title=name) for user, name in self.pairs())
        self.tag = Tag.objects.create(name="urgent")

    def pairs(self) -> tuple[tuple[Any, str], ...]:
        return (self.ana, "of-ana"), (self.ben, "of-ben")


@pytest.fixture
def world() -> World:
    return World()


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("kind", ["note", "task", "project"])
def test_staff_see_their_own_rows(kind: str, world: World) -> None:
    page = client_of(world.ana).get(f"/host/host_app/{kind}/").content.decode()
    assert "of-ana" in page
    assert "of-ben" not in page
    page = client_of(world.root).get(f"/host/host_app/{kind}/").content.decode()
    assert "of-ana" in page
    assert "of-ben" in page


@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_a_foreign_row_is_what_a_missing_one_is(page: str, world: World) -> None:
    client = client_of(world.ana)
    texts = []
    for pk in (world.foreign_note.pk, MISSING):
        answer = client.get(f"/host/host_app/note/{pk}/{page}/", follow=True)
        text = re.sub(r'(csrfmiddlewaretoken" value=)"\w+"', r"\1", answer.content.decode())
        texts.append(text.replace(f"ID “{pk}”", "ID “?”"))
    assert "ID “?”" in texts[0]
    assert texts[0] == texts[1]
    assert "of-ben" not in texts[0]
    assert client.get(f"/host/host_app/note/{world.note.pk}/{page}/").status_code == 200


def test_a_new_row_belongs_to_who_adds_it(world: World) -> None:
    for user in (world.ana, world.root):
        client_of(user).post("/host/host_app/note/add/", {"title": f"by {user.pk}"})
        assert Note.objects.get(title=f"by {user.pk}").owner == user


def test_a_changed_one_stays_whose_it_was(world: World) -> None:
    client_of(world.root).post(f"/host/host_app/note/{world.note.pk}/change/", {"title": "new"})
    world.note.refresh_from_db()
    assert (world.note.title, world.note.owner) == ("new", world.ana)


def test_references_are_to_ones_own_rows(world: World) -> None:
    client = client_of(world.ana)
    page = client.get("/host/host_app/note/add/").content.decode()
    assert "of-ana" in page
    assert "of-ben" not in page
    assert "urgent" in page
    for body in ({"project": world.foreign.pk}, {"tasks": [world.foreign_task.pk]}):
        answer = client.post("/host/host_app/note/add/", {"title": "x", **body})
        assert answer.status_code == 200
        assert "Select a valid choice" in answer.content.decode()
    client.post("/host/host_app/note/add/", {"title": "x", "project": world.own.pk, "tags": [world.tag.pk]})
    assert Note.objects.get(title="x").project == world.own
    client_of(world.root).post("/host/host_app/note/add/", {"title": "y", "tasks": [world.foreign_task.pk]})
    assert Note.objects.get(title="y").tasks.get() == world.foreign_task


def test_the_owner_is_oneself(world: World) -> None:
    client = client_of(world.ana)
    page = client.get("/host/host_app/project/add/").content.decode()
    assert str(world.ben) not in page
    answer = client.post("/host/host_app/project/add/", {"name": "x", "owner": world.ben.pk})
    assert "Select a valid choice" in answer.content.decode()
    client.post("/host/host_app/project/add/", {"name": "x", "owner": world.ana.pk})
    assert Project.objects.get(name="x").owner == world.ana


def test_a_row_without_an_owner_of_its_own_goes_below_ones_own_parents(world: World) -> None:
    client = client_of(world.ana)
    assert client.post("/host/host_app/task/add/", {"title": "x", "project": world.foreign.pk}).status_code == 200
    assert client.post("/host/host_app/task/add/", {"title": "x", "project": world.own.pk}).status_code == 302
    assert Task.objects.get(title="x").project == world.own


def test_many_are_deleted_among_ones_own(world: World) -> None:
    body = {"action": "delete_selected", "_selected_action": [world.note.pk, world.foreign_note.pk], "post": "yes"}
    client_of(world.ana).post("/host/host_app/note/", body)
    assert list(Note.objects.all()) == [world.foreign_note]
