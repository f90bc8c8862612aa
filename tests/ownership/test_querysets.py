"""`owned_by()`: one condition in SQL, on any queryset of the model."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from django_secure_auth.ownership.querysets import OwnedQuerySet
from tests.browser import make_user
from tests.host_app.models import Note, Project, Tag, Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def users() -> tuple[Any, Any]:
    return make_user("ana@example.com"), make_user("ben@example.com")


def test_it_is_one_query_and_no_join_to_the_user(users: tuple[Any, Any], django_assert_num_queries: Any) -> None:
    ana, ben = users
    for user in users:
        project = Project.objects.create(owner=user, name=f"of-{user.pk}")
        Task.objects.create(project=project, title=f"of {user.pk}")
    with django_assert_num_queries(1) as asked:
        assert [task.title for task in Task.objects.owned_by(ana)] == [f"of {ana.pk}"]
    assert asked.captured_queries[0]["sql"].count("JOIN") == 1
    with django_assert_num_queries(1) as asked:
        assert [project.name for project in Project.objects.owned_by(ben)] == [f"of-{ben.pk}"]
    assert "JOIN" not in asked.captured_queries[0]["sql"]


def test_it_narrows_what_is_there(users: tuple[Any, Any]) -> None:
    ana, ben = users
    for user in users:
        Note.objects.create(owner=user, title="a")
        Note.objects.create(owner=user, title="b")
    assert Note.objects.filter(title="a").owned_by(ana).get().owner == ana
    assert Note.objects.owned_by(ana).filter(owner=ben).count() == 0
    assert Note.objects.owned_by(ana).safe_order_by("-title").values_list("title", flat=True)[0] == "b"


def test_after_a_slice_it_refuses_instead_of_guessing(users: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        Note.objects.all()[:5].owned_by(users[0])


def test_a_related_manager_has_it_too(users: tuple[Any, Any]) -> None:
    ana, ben = users
    project = Project.objects.create(owner=ana, name="of-ana")
    Task.objects.create(project=project, title="a")
    tasks: Any = project.tasks  # type: ignore[attr-defined]  # a related manager of a model that mypy does not know
    assert tasks.owned_by(ana).count() == 1
    assert tasks.owned_by(ben).count() == 0


def test_a_model_without_a_rule_has_no_owned_rows(users: tuple[Any, Any]) -> None:
    tags: OwnedQuerySet[Tag] = OwnedQuerySet(Tag)
    with pytest.raises(ImproperlyConfigured):
        tags.owned_by(users[0])


def test_it_stands_below_a_queryset_of_ones_own() -> None:
    assert issubclass(type(Note.objects.all()), OwnedQuerySet)
    assert isinstance(Note.objects, models.Manager)
