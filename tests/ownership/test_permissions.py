"""IsOwner: a boolean, so that it composes; alone, a 404."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.permissions import AllowAny, IsAuthenticated, OperandHolder
from rest_framework.request import Request
from rest_framework.test import APIClient

from django_secure_auth.ownership.permissions import IsOwner
from tests.browser import make_user
from tests.host_app.models import Note, Project, Task

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ownership.views")]


def request_of(user: Any) -> Request:
    request = Request(HttpRequest())
    request.user = user
    return request


def passes(permission: Any, user: Any, row: Any, view: Any = None) -> bool:
    asked, request = permission(), request_of(user)
    return bool(asked.has_permission(request, view) and asked.has_object_permission(request, view, row))


@pytest.fixture
def ana() -> Any:
    return make_user("ana@example.com")


@pytest.fixture
def ben() -> Any:
    return make_user("ben@example.com")


def test_the_owner_passes_and_nobody_else(ana: Any, ben: Any) -> None:
    note = Note.objects.create(owner=ana, title="a")
    task = Task.objects.create(project=Project.objects.create(owner=ana, name="a"), title="a")
    for row in (note, task):
        assert passes(IsOwner, ana, row)
        assert not passes(IsOwner, ben, row)
        assert not passes(IsOwner, AnonymousUser(), row)


def test_it_costs_no_query_for_an_owner_and_one_for_a_parent(ana: Any, django_assert_num_queries: Any) -> None:
    note = Note.objects.create(owner=ana, title="a")
    task = Task.objects.create(project=Project.objects.create(owner=ana, name="a"), title="a")
    note, task = Note.objects.get(pk=note.pk), Task.objects.get(pk=task.pk)
    with django_assert_num_queries(0):
        assert passes(IsOwner, ana, note)
    with django_assert_num_queries(1):
        assert passes(IsOwner, ana, task)


@pytest.mark.parametrize(
    ("composed", "of_ana", "of_ben"),
    [
        (IsAuthenticated & IsOwner, True, False),
        (IsOwner & IsAuthenticated, True, False),
        (IsOwner | AllowAny, True, True),
        (~IsOwner, False, True),
        (IsOwner & ~AllowAny, False, False),
    ],
)
def test_it_composes_and_raises_nothing(
    composed: OperandHolder, of_ana: bool, of_ben: bool, ana: Any, ben: Any
) -> None:
    assert passes(composed, ana, Note(owner=ana)) is of_ana
    asked, request = composed(), request_of(ana)
    assert bool(asked.has_object_permission(request, None, Note(owner=ben))) is of_ben


def test_a_foreign_object_is_a_missing_one_also_without_the_mixin(ana: Any, ben: Any) -> None:
    client = APIClient()
    client.force_authenticate(ana)
    note = Note.objects.create(owner=ben, title="a")
    answers = [client.get(f"/plain/{pk}/") for pk in (note.pk, note.pk + 1)]
    assert [answer.status_code for answer in answers] == [404, 404]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    note.owner = ana
    note.save()
    assert client.get(f"/plain/{note.pk}/").status_code == 200


def test_an_anonymous_caller_is_told_to_sign_in(ana: Any) -> None:
    task = Task.objects.create(project=Project.objects.create(owner=ana, name="a"), title="a")
    assert APIClient().get(f"/plain-tasks/{task.pk}/").status_code == 401


def test_a_view_may_exempt(ana: Any, ben: Any) -> None:
    class View:
        def is_owner_exempt(self, request: Request) -> bool:
            return bool(request.user == ben)

    note = Note(owner=ana)
    assert passes(IsOwner, ben, note, View())
    assert not passes(IsOwner, make_user("eve@example.com"), note, View())
