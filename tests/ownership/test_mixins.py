"""Every route of an owned view: reading, writing, moving, referring; foreign is missing, in every byte."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connection
from django.http import Http404
from django.test.utils import CaptureQueriesContext
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.test import APIClient
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.exceptions import NotFound
from django_secure_auth.ownership.mixins import OwnedViewMixin
from django_secure_auth.ownership.permissions import IsOwner
from tests.browser import make_user
from tests.host_app.models import Note, Project, Tag, Task
from tests.ownership import views

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ownership.views")]
MISSING = 987654


def client_of(user: Any) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(user)
    client.default_format = "json"  # type: ignore[attr-defined]  # read by every call below
    return client


def as_json(key: Any) -> Any:
    """A user's key as it is shown, whatever its type."""
    return key if isinstance(key, int) else str(key)


class World:
    """Ana and Ben, each with a project, a task in it, and a note; a tag for everybody."""

    def __init__(self) -> None:
        self.ana, self.ben = make_user("ana@example.com"), make_user("ben@example.com")
        self.tag = Tag.objects.create(name="urgent")
        self.project, self.task, self.note = self.of(self.ana, "ana")
        self.foreign_project, self.foreign_task, self.foreign_note = self.of(self.ben, "ben")
        self.client = client_of(self.ana)

    def of(self, user: Any, name: str) -> tuple[Project, Task, Note]:
        project = Project.objects.create(owner=user, name=name)
        return project, Task.objects.create(project=project, title=name), Note.objects.create(owner=user, title=name)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        return getattr(self.client, method)(path, body, format="json")


@pytest.fixture
def world() -> World:
    return World()


def bytes_of(response: Any) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but its request id."""
    body = response.content
    if body.startswith(b"{"):
        parsed = json.loads(body)
        parsed.pop("request_id", None)
        body = json.dumps(parsed).encode()
    headers = {
        name: value for name, value in response.headers.items() if name not in {"X-Request-ID", "Content-Length"}
    }
    return response.status_code, body, headers


# --- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "name"), [("projects", "name"), ("tasks", "title")])
def test_a_list_shows_own_rows_only(path: str, name: str, world: World) -> None:
    """R34: listing is under the rule too."""
    assert [row[name] for row in world.send("get", f"/{path}/").json()] == ["ana"]


def test_a_page_counts_own_rows_only(world: World) -> None:
    answer = world.send("get", "/notes/").json()
    assert (answer["count"], [row["title"] for row in answer["results"]]) == (1, ["ana"])


@pytest.mark.parametrize(
    "path", ["projects", "tasks", "notes", "own-queryset", "own-object", "own-save", "wrong-order"]
)
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
@pytest.mark.control("ASVS-8.2.2")
def test_a_foreign_row_is_a_missing_one_in_every_byte(method: str, path: str, world: World) -> None:
    """R34: by every method of every view."""
    foreign = {"projects": world.foreign_project, "tasks": world.foreign_task}.get(path, world.foreign_note)
    if path == "own-object":  # its author raises DoesNotExist for a missing one; the foreign one must be a 404 still
        assert world.send(method, f"/{path}/{foreign.pk}/").status_code == (200 if method == "options" else 404)
        return
    answers = [bytes_of(world.send(method, f"/{path}/{pk}/", {"title": "x"})) for pk in (foreign.pk, MISSING)]
    assert answers[0] == answers[1]
    assert answers[0][0] == (200 if method == "options" else 404)
    foreign.refresh_from_db()
    assert str(foreign) == "ben"


@pytest.mark.parametrize("pk", ["abc", "-1", "%00", "9" * 30, "1%00", "%F0%9F%98%80", "None", "٣"])
def test_an_ill_formed_id_is_a_missing_one(pk: str, world: World) -> None:
    for path in ("notes", "tasks"):
        answer = world.send("get", f"/{path}/{pk}/")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_own_rows_are_read_changed_and_deleted(world: World) -> None:
    for path, row in (("projects", world.project), ("tasks", world.task), ("notes", world.note)):
        assert world.send("get", f"/{path}/{row.pk}/").status_code == 200
        body = {"name": "new"} if path == "projects" else {"title": "new"}
        assert world.send("patch", f"/{path}/{row.pk}/", body).status_code == 200
        row.refresh_from_db()
        assert str(row) == "new"
        assert world.send("delete", f"/{path}/{row.pk}/").status_code == 204
        world.project.save()  # the tasks' test needs it again
        world.task.save()


def test_a_get_queryset_of_ones_own_does_not_show_everything(world: World) -> None:
    assert [row["title"] for row in world.send("get", "/own-queryset/").json()["results"]] == ["ana"]
    assert world.send("post", "/own-queryset/clear/").json() == {"deleted": 1}
    assert list(Note.objects.all()) == [world.foreign_note]


class Everything:
    """A mixin of somebody else's that forgets super() too."""

    def get_queryset(self) -> Any:
        return Note.objects.order_by("pk")


def test_neither_does_that_of_another_mixin_and_nobody_is_asked_twice(
    world: World, django_assert_num_queries: Any
) -> None:
    class Mixed(Everything, OwnedViewMixin, ModelViewSet[Note]):  # type: ignore[misc]  # which differ in their types
        pass

    class Sub(Mixed):
        pass

    for view_class in (Mixed, Sub):
        view = view_class(request=SimpleNamespace(user=world.ana), kwargs={})
        assert list(view.get_queryset()) == [world.note]
        assert str(view.get_queryset().query).count('owner_id" =') == 1


def test_a_view_that_names_the_mixin_last_is_as_safe(world: World) -> None:
    world.client.force_authenticate(world.ana)
    assert [row["title"] for row in world.send("get", "/wrong-order/").json()] == ["ana"]
    answer = world.send("post", "/wrong-order/", {"title": "x", "tasks": [world.foreign_task.pk]})
    assert answer.status_code == 400
    assert world.send("post", "/wrong-order/", {"title": "x"}).json()["owner"] == as_json(world.ana.pk)


@pytest.mark.parametrize("count", [1, 15])
def test_a_list_costs_the_same_whatever_its_length(count: int, world: World, django_assert_num_queries: Any) -> None:
    """R33: filtered in SQL, with a constant number of queries."""
    for number in range(count):
        note = Note.objects.create(owner=world.ana, title=f"n{number}")
        note.tags.add(world.tag)
        Task.objects.create(project=world.project, title=f"t{number}")
    with django_assert_num_queries(4):  # count, page, and the two relations that the view prefetches
        assert world.send("get", "/notes/").json()["count"] == count + 1
    with django_assert_num_queries(1):
        assert len(world.send("get", "/tasks/").json()) == count + 1


def test_a_row_costs_one_query_and_one_more_for_its_parent(world: World, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):  # the note, and the two relations that the view prefetches
        world.send("get", f"/notes/{world.note.pk}/")
    with django_assert_num_queries(2):
        world.send("get", f"/tasks/{world.task.pk}/")


def test_foreign_and_missing_ask_the_database_the_same(world: World) -> None:
    asked = []
    for pk in (world.foreign_note.pk, MISSING):
        with CaptureQueriesContext(connection) as queries:
            world.send("get", f"/notes/{pk}/")
        asked.append([one["sql"].replace(f"= {pk})", "= ?)") for one in queries.captured_queries])
    assert asked[0] == asked[1]
    assert len(asked[0]) == 1


# --- nobody ------------------------------------------------------------------------------------------


def test_an_anonymous_caller_owns_nothing(world: World) -> None:
    nobody = APIClient()
    assert nobody.get("/projects/").json() == []
    assert nobody.get(f"/projects/{world.project.pk}/").status_code == 404
    answer = nobody.post("/projects/", {"name": "new"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert not Project.objects.filter(name="new").exists()
    assert nobody.get("/notes/").status_code == 401


def test_a_superuser_is_not_exempt(world: World) -> None:
    root = client_of(make_user("root@example.com", is_superuser=True, is_staff=True))
    assert root.get("/projects/").json() == []
    assert root.get(f"/notes/{world.note.pk}/").status_code == 404


def test_a_view_may_exempt_superusers(world: World) -> None:
    superuser = make_user("root@example.com", is_superuser=True)
    root = client_of(superuser)
    assert root.get("/open-notes/").json()["count"] == 2
    path = f"/open-notes/{world.note.pk}/"
    answer = root.patch(path, {"title": "new", "tasks": [world.foreign_task.pk]}, format="json")
    assert (answer.status_code, answer.json()["owner"]) == (200, as_json(world.ana.pk))
    assert root.patch(path, {"owner": world.ben.pk}, format="json").json()["owner"] == as_json(world.ben.pk)
    body = {"title": "x", "owner": world.ana.pk}
    assert root.post("/open-notes/", body, format="json").json()["owner"] == as_json(world.ana.pk)
    assert client_of(world.ana).get("/open-notes/").json()["count"] == 1


# --- creating ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["notes", "own-save", "by-id", "wrong-order"])
def test_a_new_row_belongs_to_the_caller(path: str, world: World) -> None:
    """R34: creation is under the rule too."""
    answer = world.send("post", f"/{path}/", {"title": "new"})
    assert answer.status_code == 201
    assert Note.objects.get(title="new").owner == world.ana


def test_ones_own_id_may_be_said(world: World) -> None:
    assert world.send("post", "/notes/", {"title": "new", "owner": world.ana.pk}).status_code == 201


@pytest.mark.parametrize("path", ["notes", "own-save"])
def test_nobody_creates_rows_for_another(path: str, world: World) -> None:
    answers = [
        bytes_of(world.send("post", f"/{path}/", {"title": "new", "owner": pk})) for pk in (world.ben.pk, MISSING)
    ]
    assert [answer[0] for answer in answers] == [400, 400]
    assert answers[0][1].replace(str(world.ben.pk).encode(), b"?") == answers[1][1].replace(str(MISSING).encode(), b"?")
    assert not Note.objects.filter(title="new").exists()


def test_not_even_by_a_plain_number(world: World) -> None:
    answer = world.send("post", "/by-id/", {"title": "new", "owner_id": world.ben.pk})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not Note.objects.filter(title="new").exists()
    answer = world.send("patch", f"/by-id/{world.note.pk}/", {"owner_id": world.ben.pk})
    assert answer.status_code == 404
    world.note.refresh_from_db()
    assert world.note.owner == world.ana


def test_a_row_without_an_owner_of_its_own_needs_a_parent_of_the_callers(world: World) -> None:
    assert world.send("post", "/tasks/", {"title": "new", "project": world.project.pk}).status_code == 201
    answers = [
        bytes_of(world.send("post", "/tasks/", {"title": "x", "project": pk}))
        for pk in (world.foreign_project.pk, MISSING)
    ]
    assert [answer[0] for answer in answers] == [400, 400]
    assert b"object does not exist" in answers[0][1]
    assert answers[0][1].replace(str(world.foreign_project.pk).encode(), b"?") == answers[1][1].replace(
        str(MISSING).encode(), b"?"
    )


@pytest.mark.parametrize("body", [{"title": "x"}, {"title": "x", "project": None}])
def test_nobodys_parent_will_not_do(body: Any, world: World) -> None:
    assert world.send("post", "/tasks/", body).status_code == 404
    assert not Task.objects.filter(title="x").exists()


def test_nor_a_foreign_one_by_a_plain_number(world: World) -> None:
    body = {"title": "x", "project_id": world.foreign_project.pk}
    assert world.send("post", "/loose-tasks/", body).status_code == 404
    assert not Task.objects.filter(title="x").exists()
    assert world.send("post", "/loose-tasks/", {**body, "project_id": world.project.pk}).status_code == 201


def test_a_title_taken_by_another_may_be_taken_and_ones_own_may_not(world: World) -> None:
    assert world.send("post", "/notes/", {"title": "ben"}).status_code == 201
    assert world.send("post", "/notes/", {"title": "ana"}).status_code == 400


# --- changing ----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-8.2.3")
@pytest.mark.parametrize("path", ["notes", "own-save"])
def test_the_owner_is_not_changed_by_a_client(path: str, world: World) -> None:
    target = f"/{path}/{world.note.pk}/"
    for owner in (world.ben.pk, MISSING, None, "x"):
        answer = world.send("patch", target, {"owner": owner})
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {"owner"})
        assert world.send("put", target, {"title": "x", "owner": owner}).status_code == 400
    world.note.refresh_from_db()
    assert (world.note.owner, world.note.title) == (world.ana, "ana")
    assert world.send("patch", target, {"owner": world.ana.pk}).status_code == 200
    assert world.send("put", target, world.send("get", target).json()).status_code == 200


def test_a_row_moves_to_parents_of_the_callers_only(world: World) -> None:
    other = Project.objects.create(owner=world.ana, name="other")
    target = f"/tasks/{world.task.pk}/"
    assert world.send("patch", target, {"project": other.pk}).json()["project"] == other.pk
    for project in (world.foreign_project.pk, MISSING):
        assert world.send("patch", target, {"project": project}).status_code == 400
    assert world.send("patch", target, {"project": None}).status_code == 404
    answer = world.send("patch", f"/loose-tasks/{world.task.pk}/", {"project_id": world.foreign_project.pk})
    assert answer.status_code == 404
    world.task.refresh_from_db()
    assert world.task.project == other


# --- bulk --------------------------------------------------------------------------------------------


def test_many_rows_at_once_are_all_the_callers(world: World) -> None:
    answer = world.send("post", "/notes/bulk/", [{"title": "b1"}, {"title": "b2"}])
    assert answer.status_code == 201
    assert {note.owner for note in Note.objects.filter(title__startswith="b", title__lt="b9")} == {world.ana}


def test_one_foreign_reference_among_many_refuses_all(world: World, settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "LIST_SERIALIZER_ERRORS_AS_DICT": True}
    body = [{"title": "b1"}, {"title": "b2", "tasks": [world.task.pk, world.foreign_task.pk]}]
    assert world.send("post", "/notes/bulk/", body).status_code == 400
    assert not Note.objects.filter(title="b1").exists()
    assert world.send("post", "/notes/bulk/", [{"title": "b1", "owner": world.ben.pk}]).status_code == 400


def serializer_of(view_class: type[Any], user: Any, data: Any) -> Any:
    """A valid serializer as an action of the view would get it."""
    request = SimpleNamespace(user=user, method="POST", authenticators=())
    view = view_class(request=request, kwargs={}, format_kwarg=None)
    serializer = view.get_serializer(data=data, many=isinstance(data, list))
    serializer.is_valid(raise_exception=True)
    return serializer


def test_one_foreign_row_among_many_takes_all_back(world: World) -> None:
    rows = [
        {"title": "x1", "project_id": world.project.pk},
        {"title": "x2", "project_id": world.foreign_project.pk},
    ]
    serializer = serializer_of(views.LooseTaskView, world.ana, rows)
    with pytest.raises(NotFound):
        serializer.save()
    assert not Task.objects.filter(title__startswith="x").exists()


def test_deleting_many_deletes_ones_own(world: World) -> None:
    assert world.send("post", "/notes/clear/").json() == {"deleted": 1}
    assert list(Note.objects.all()) == [world.foreign_note]


# --- nested routes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_below_a_foreign_parent_is_what_is_below_a_missing_one(method: str, world: World) -> None:
    answers = [bytes_of(world.send(method, f"/named/{name}/tasks/", {"title": "x"})) for name in ("ben", "missing")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    numbers = (world.foreign_project.pk, MISSING, "abc", "%00", "9" * 30)
    answers = [bytes_of(world.send(method, f"/numbered/{pk}/tasks/", {"title": "x"})) for pk in numbers]
    assert answers == [answers[0]] * len(numbers)
    assert answers[0][0] == 404
    assert not Task.objects.filter(title="x").exists()


def test_below_ones_own_parent_rows_are_listed_and_made(world: World) -> None:
    other = Project.objects.create(owner=world.ana, name="other")
    Task.objects.create(project=other, title="elsewhere")
    assert [row["title"] for row in world.send("get", "/named/ana/tasks/").json()] == ["ana"]
    assert world.send("post", "/named/ana/tasks/", {"title": "new"}).status_code == 201
    assert Task.objects.get(title="new").project == world.project
    assert world.send("post", f"/numbered/{other.pk}/tasks/", {"title": "newer"}).status_code == 201


@pytest.mark.parametrize("path", ["named/ben", "named/missing", "named/other", "numbered/abc", "named/%00"])
def test_a_row_is_found_below_its_own_parent_only(path: str, world: World) -> None:
    Project.objects.create(owner=world.ana, name="other")
    assert world.send("get", f"/named/ana/tasks/{world.task.pk}/").status_code == 200
    for pk in (world.task.pk, world.foreign_task.pk):
        assert world.send("get", f"/{path}/tasks/{pk}/").status_code == 404


def test_a_row_that_lands_below_another_parent_than_the_urls_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.NestedTaskViewSet, "serializer_class", views.LooseTaskSerializer)
    other = Project.objects.create(owner=world.ana, name="other")
    body = {"title": "x", "project_id": other.pk}
    assert world.send("post", "/named/ana/tasks/", body).status_code == 404
    assert not Task.objects.filter(title="x").exists()


def test_an_exempt_caller_sees_below_every_parent(world: World) -> None:
    root = client_of(make_user("root@example.com", is_superuser=True))
    assert len(root.get("/open-named/ben/tasks/").json()) == 1
    assert root.get("/open-named/missing/tasks/").status_code == 404
    assert world.send("get", "/open-named/ben/tasks/").status_code == 404


def test_a_nested_list_costs_one_query_more(world: World, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        world.send("get", "/named/ana/tasks/")


# --- other object permissions ------------------------------------------------------------------------------


class NotSecret(BasePermission):
    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return "secret" not in str(obj)


def raising(error: type[Exception]) -> type[BasePermission]:
    """As DRF's DjangoObjectPermissions does."""

    class Raising(NotSecret):
        def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
            if not super().has_object_permission(request, view, obj):
                raise error
            return True

    return Raising


PERMISSIONS: list[Any] = [
    NotSecret,
    IsOwner & NotSecret,
    IsOwner & (NotSecret | ~AllowAny),
    *(raising(error) for error in (Http404, PermissionDenied, drf.NotFound, drf.PermissionDenied)),
]


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_object_permissions_are_asked_for_a_list_and_for_a_new_row(
    permission: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R34: DRF asks them in get_object() only."""
    for view in (views.NoteViewSet, views.TaskViewSet):
        monkeypatch.setattr(view, "permission_classes", (IsAuthenticated, permission))
    Note.objects.create(owner=world.ana, title="secret")
    Task.objects.create(project=world.project, title="secret")
    assert [row["title"] for row in world.send("get", "/notes/").json()["results"]] == ["ana"]
    assert [row["title"] for row in world.send("get", "/tasks/").json()] == ["ana"]
    answer = world.send("post", "/notes/", {"title": "my secret"})
    assert answer.status_code in {403, 404}
    assert not Note.objects.filter(title="my secret").exists()
    assert world.send("post", "/notes/", {"title": "fine"}).status_code == 201


def test_they_may_be_asked_of_many_parents_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R33: composed with ownership, they do not load the parents one by one."""
    monkeypatch.setattr(views.TaskViewSet, "permission_classes", (IsOwner & NotSecret,))
    for number in range(9):
        project = Project.objects.create(owner=world.ana, name=f"p{number}")
        Task.objects.create(project=project, title=f"t{number}")
    with CaptureQueriesContext(connection) as queries:
        assert len(world.send("get", "/tasks/").json()) == 10
    assert len(queries) == 2


def test_an_empty_list_is_empty(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views.TaskViewSet, "permission_classes", (NotSecret,))
    Task.objects.all().delete()
    assert world.send("get", "/tasks/").json() == []


# --- mistakes ----------------------------------------------------------------------------------------


def test_a_view_of_a_model_without_a_rule_does_not_come_to_be() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"host_app\.Tag does not say"):

        class TagViewSet(OwnedViewMixin, ModelViewSet[Tag]):
            queryset = Tag.objects.all()


def test_or_shows_nothing(world: World) -> None:
    class TagViewSet(OwnedViewMixin, ModelViewSet[Tag]):
        def get_queryset(self) -> Any:
            return Tag.objects.all()

    view = TagViewSet(request=SimpleNamespace(user=world.ana), kwargs={})
    with pytest.raises(ImproperlyConfigured):
        view.get_queryset()


def test_a_parent_is_named_with_its_field() -> None:
    with pytest.raises(ImproperlyConfigured, match="project__pk"):

        class View(OwnedViewMixin, ModelViewSet[Task]):
            parent_lookup_kwargs = {"project_pk": "project"}


def test_a_schema_is_drawn_without_a_caller() -> None:
    view = views.NestedTaskViewSet(request=None, kwargs={}, format_kwarg=None)
    assert list(view.get_queryset()) == []
    assert set(view.get_serializer().fields) == {"id", "title"}
    view.request, view.swagger_fake_view = object(), True
    assert list(view.get_queryset()) == []


# --- actions with a serializer of another kind -----------------------------------------------------------


class Answer(serializers.Serializer[Any]):
    text = serializers.CharField()

    def create(self, validated_data: Any) -> Any:
        return validated_data


class TagSerializer(serializers.ModelSerializer[Tag]):
    class Meta:
        model = Tag
        fields = ("name",)


def test_what_is_no_row_is_saved_as_it_is(world: World) -> None:
    class View(views.NoteViewSet):
        serializer_class = Answer  # type: ignore[assignment]  # of another kind

    serializer = serializer_of(View, world.ana, {"text": "a"})
    assert serializer.save() == {"text": "a"}


def test_neither_is_a_row_that_is_nobodys(world: World) -> None:
    class View(views.NoteViewSet):
        serializer_class = TagSerializer  # type: ignore[assignment]  # of another kind

    assert serializer_of(View, world.ana, {"name": "new"}).save() == Tag.objects.get(name="new")


def test_a_row_of_another_model_is_judged_by_its_own_rule(world: World) -> None:
    class View(views.NoteViewSet):
        serializer_class = views.LooseTaskSerializer  # type: ignore[assignment]  # of another kind

    serializer = serializer_of(View, world.ana, {"title": "x", "project_id": world.foreign_project.pk})
    with pytest.raises(NotFound):
        serializer.save()
    assert not Task.objects.filter(title="x").exists()
