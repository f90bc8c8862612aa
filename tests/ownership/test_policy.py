"""The rule: a path to the user, resolved once, judged at the start, and the same for a query and for an object."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_secure_auth.ownership.policy import is_owner, is_somebody, owned, require_rule, rule_of
from tests.browser import make_user
from tests.host_app.models import Note, Project, Tag, Task

pytestmark = pytest.mark.django_db


def test_a_rule_knows_its_path() -> None:
    direct, indirect = require_rule(Note), require_rule(Task)
    assert (direct.path, direct.is_direct, direct.parents) == ("owner", True, "")
    assert (indirect.path, indirect.is_direct, indirect.parents) == ("project__owner", False, "project")


def test_a_model_without_a_rule_is_a_mistake_where_one_is_needed() -> None:
    assert rule_of(Tag) is None
    assert rule_of(None) is None
    with pytest.raises(ImproperlyConfigured, match=r"host_app.Tag does not say who owns its rows"):
        require_rule(Tag)
    with pytest.raises(ImproperlyConfigured):
        owned(Tag.objects.all(), AnonymousUser())
    with pytest.raises(ImproperlyConfigured):
        is_owner(AnonymousUser(), Tag())


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("ownr", "has no field 'ownr'"),
        ("", "has no field ''"),
        ("project__ownr", "host_app.Project has no field 'ownr'"),
        ("project__", "has no field ''"),
        ("owner_id", "is no foreign key"),
        ("title", "is no foreign key"),
        ("tags", "is no foreign key"),
        ("tasks__project__owner", "is no foreign key"),
        ("project__tasks", "is no foreign key"),
        ("project", "ends at host_app.Project, not at the user model"),
        (7, "has no field '7'"),
    ],
)
def test_a_path_that_leads_elsewhere_is_a_mistake(path: Any, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Note, "secure_auth_owner", path)
    with pytest.raises(ImproperlyConfigured) as caught:
        rule_of(Note)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_proxy_and_a_child_inherit_the_rule() -> None:
    with isolate_apps("tests.host_app"):

        class ShortNote(Note):
            class Meta:
                app_label = "host_app"
                proxy = True

    rule = rule_of(ShortNote)
    assert rule is not None
    assert rule.path == "owner"


# --- nobody ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_an_anonymous_user_owns_nothing(user: Any, django_assert_num_queries: Any) -> None:
    nobodys = Project.objects.create(owner=None, name="nobodys")
    task = Task.objects.create(project=nobodys, title="a")
    orphan = Task.objects.create(project=None, title="b")
    with django_assert_num_queries(0):
        assert not is_somebody(user)
        assert list(owned(Project.objects.all(), user)) == []
        assert not is_owner(user, nobodys)
        assert not is_owner(user, task)
        assert not is_owner(user, orphan)


def test_nobodys_rows_are_not_those_of_an_unsaved_user() -> None:
    nobodys = Project.objects.create(owner=None, name="nobodys")
    unsaved = get_user_model()()
    unsaved.pk = None
    assert list(owned(Project.objects.all(), unsaved)) == []
    assert not is_owner(unsaved, nobodys)


def test_a_dangling_parent_is_nobodys() -> None:
    user = make_user()
    task = Task(title="a", project_id=4711)
    assert not is_owner(user, task)


def test_a_key_that_was_set_as_text_is_the_same_key() -> None:
    user = make_user()
    assert is_owner(user, Note(owner_id=str(user.pk)))
    assert not is_owner(user, Note(owner_id=None))


def test_somebody_is_signed_in_and_saved() -> None:
    assert is_somebody(make_user())
    stranger: Any = SimpleNamespace(is_authenticated=True, pk=None)
    assert not is_somebody(stranger)


# --- the query and the object agree ----------------------------------------------------------------------

owners = st.sampled_from([None, 0, 1, 2])


@pytest.mark.control("ASVS-8.2.2")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(projects=st.lists(owners, max_size=5), tasks=st.lists(st.integers(-1, 4), max_size=8), notes=st.lists(owners))
def test_the_queryset_is_the_object_permission(projects: list[Any], tasks: list[int], notes: list[Any]) -> None:
    """R34: for random rows, what the queryset finds is what the object permission lets pass, for users and nobody."""
    for model in (Note, Task, Project, get_user_model()):
        model._default_manager.all().delete()
    users = [make_user(f"user-{number}@example.com") for number in range(3)]
    rows = [
        Project.objects.create(name=f"p{number}", owner=None if who is None else users[who])
        for number, who in enumerate(projects)
    ]
    for number, which in enumerate(tasks):
        Task.objects.create(title=str(number), project=rows[which] if 0 <= which < len(rows) else None)
    for number, who in enumerate(notes):
        if who is not None:
            Note.objects.create(title=str(number), owner=users[who])
    seen = 0
    for user in (*users, AnonymousUser(), None):
        for model in (Project, Task, Note):
            found = set(model.objects.owned_by(user))
            assert found == {row for row in model.objects.all() if is_owner(user, row)}
            seen += len(found)
    of_somebody = sum(row.owner_id is not None for row in rows)
    assert seen == of_somebody + Note.objects.count() + Task.objects.filter(project__owner__isnull=False).count()
