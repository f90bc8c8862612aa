"""Related fields that find the caller's rows only, of whatever kind and however deep."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import include, path
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import SimpleRouter
from rest_framework.test import APIClient
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.ownership.fields import narrow
from django_secure_auth.ownership.mixins import OwnedViewMixin
from tests.browser import make_user
from tests.host_app.models import Note, Project, Tag, Task
from tests.ownership.views import TaskViewSet

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
MISSING = 987654


class OwnLookup(serializers.PrimaryKeyRelatedField[Project]):
    """A field that finds its rows by a method of its own."""

    def get_queryset(self) -> Any:
        return Project.objects.order_by("name")


class Line(serializers.Serializer[Any]):
    project = serializers.PrimaryKeyRelatedField(queryset=Project.objects.all(), required=False)


class Everything(serializers.Serializer[Any]):
    """One field of each kind that refers to rows; its view saves nothing."""

    by_pk = serializers.PrimaryKeyRelatedField(queryset=Project.objects.all(), required=False)
    by_manager = serializers.PrimaryKeyRelatedField(queryset=Project.objects, required=False)
    by_slug = serializers.SlugRelatedField(slug_field="name", queryset=Project.objects.all(), required=False)
    by_link = serializers.HyperlinkedRelatedField(view_name="task-detail", queryset=Task.objects.all(), required=False)
    by_method = OwnLookup(required=False)
    many = serializers.PrimaryKeyRelatedField(queryset=Task.objects.all(), many=True, required=False)
    many_slugs = serializers.SlugRelatedField(
        slug_field="title", queryset=Task.objects.all(), many=True, required=False
    )
    listed: Any = serializers.ListField(
        child=serializers.PrimaryKeyRelatedField(queryset=Project.objects.all()), required=False
    )
    mapped: Any = serializers.DictField(
        child=serializers.PrimaryKeyRelatedField(queryset=Project.objects.all()), required=False
    )
    nested = Line(required=False)
    nested_many = Line(many=True, required=False)
    tag = serializers.SlugRelatedField(slug_field="name", queryset=Tag.objects.all(), required=False)
    shown = serializers.PrimaryKeyRelatedField(read_only=True)  # type: ignore[var-annotated]  # as hosts write it
    text = serializers.CharField(required=False)

    def create(self, validated_data: Any) -> Any:
        return {}

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {}


class EverythingViewSet(OwnedViewMixin, ModelViewSet[Note]):
    queryset = Note.objects.order_by("pk")
    serializer_class = Everything
    permission_classes = (IsAuthenticated,)


router = SimpleRouter()
router.register("everything", EverythingViewSet, "everything")
router.register("tasks", TaskViewSet, "task")
urlpatterns = [path("", include(router.urls))]


@pytest.fixture
def users() -> tuple[Any, Any]:
    return make_user("ana@example.com"), make_user("ben@example.com")


def of(user: Any, name: str) -> tuple[Project, Task]:
    project = Project.objects.create(owner=user, name=name)
    return project, Task.objects.create(project=project, title=name)


FIELDS: dict[str, Any] = {
    "by_pk": lambda project, task: project,
    "by_manager": lambda project, task: project,
    "by_method": lambda project, task: project,
    "by_link": lambda project, task: f"http://testserver/tasks/{task}/",
    "many": lambda project, task: [task],
    "listed": lambda project, task: [project],
    "mapped": lambda project, task: {"a": project},
    "nested": lambda project, task: {"project": project},
    "nested_many": lambda project, task: [{"project": project}],
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_foreign_row_is_answered_as_a_missing_one(name: str, users: tuple[Any, Any], settings: Any) -> None:
    """R34: no reference from outside reaches another's row."""
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "LIST_SERIALIZER_ERRORS_AS_DICT": True}
    client = APIClient()
    client.force_authenticate(users[0])
    (project, task), (foreign_project, foreign_task) = of(users[0], "ana"), of(users[1], "ben")
    build = FIELDS[name]
    answer = client.post("/everything/", {name: build(project.pk, task.pk)}, format="json")
    assert answer.status_code == 201, answer.content
    texts = []
    for pks in ((foreign_project.pk, foreign_task.pk), (MISSING, MISSING)):
        answer = client.post("/everything/", {name: build(*pks)}, format="json")
        assert answer.status_code == 400
        texts.append(re.sub(r'"[0-9]+"', '"?"', str(answer.json()["errors"])))
    assert texts[0] == texts[1]
    assert "does not exist" in texts[0]


@pytest.mark.parametrize("name", ["by_slug", "many_slugs"])
def test_neither_by_a_name(name: str, users: tuple[Any, Any]) -> None:
    client = APIClient()
    client.force_authenticate(users[0])
    of(users[0], "ana"), of(users[1], "ben")
    value: Any
    for value, status in (("ana", 201), ("ben", 400), ("none", 400)):
        body = {name: value if name == "by_slug" else [value]}
        answer = client.post("/everything/", body, format="json")
        assert answer.status_code == status
        if status == 400:
            assert f"Object with {'name' if name == 'by_slug' else 'title'}={value} does not exist." in str(
                answer.json()
            )


def test_what_is_nobodys_may_be_referred_to_by_all(users: tuple[Any, Any]) -> None:
    client = APIClient()
    client.force_authenticate(users[0])
    Tag.objects.create(name="urgent")
    assert client.post("/everything/", {"tag": "urgent", "text": "a"}, format="json").status_code == 201


def test_choices_of_a_form_are_ones_own(users: tuple[Any, Any]) -> None:
    of(users[0], "ana"), of(users[1], "ben")
    serializer = Everything()
    narrow(serializer, users[0])
    for name in ("by_pk", "by_method", "many"):
        assert list(serializer.fields[name].choices.values()) == ["ana"]


def test_fields_of_one_request_do_not_narrow_those_of_another(users: tuple[Any, Any]) -> None:
    of(users[0], "ana"), of(users[1], "ben")
    narrow(Everything(), users[0])
    assert len(Everything().fields["by_pk"].choices) == 2


def test_nobody_refers_to_nothing(users: tuple[Any, Any]) -> None:
    of(users[0], "ana")
    serializer = Everything()
    narrow(serializer, None)
    assert serializer.fields["by_pk"].choices == {}


class WithDefault(serializers.ModelSerializer[Note]):
    owner: Any = serializers.PrimaryKeyRelatedField(
        queryset=Note._meta.get_field("owner").related_model._default_manager.all(),
        default=serializers.CurrentUserDefault(),
    )

    class Meta:
        model = Note
        fields = ("title", "owner")


def test_a_default_of_the_hosts_stays(users: tuple[Any, Any]) -> None:
    serializer = WithDefault()
    narrow(serializer, users[0])
    assert isinstance(serializer.fields["owner"].default, serializers.CurrentUserDefault)
