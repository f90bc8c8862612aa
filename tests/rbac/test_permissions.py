"""RecentlyAuthenticated: a recent proof of identity, alone and composed."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from django.utils import timezone
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.rbac.permissions import RecentlyAuthenticated
from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import sign_in
from django_secure_auth.tokens.authentication import JWTCookieAuthentication

SECOND = timedelta(seconds=1)


def request_of(age: timedelta | None) -> Request:
    request = Request(HttpRequest())
    auth_time = timezone.now() - age if age is not None else None
    user: Any = SimpleNamespace(is_authenticated=True, is_staff=False)
    request.auth, request.user = SimpleNamespace(auth_time=auth_time), user
    return request


def passes(permission: Any, age: timedelta | None) -> bool:
    """Whether it lets a request pass, asked the way DRF does: what stands in `permission_classes` is called."""
    return bool(permission().has_permission(request_of(age), None))


@pytest.mark.control("ASVS-7.5.1")
def test_the_default_is_the_setting(settings: Any) -> None:
    assert passes(RecentlyAuthenticated, 299 * SECOND)
    assert not passes(RecentlyAuthenticated, 301 * SECOND)
    settings.DJANGO_SECURE_AUTH = {"STEP_UP_MAX_AGE": 10 * SECOND}
    assert passes(RecentlyAuthenticated, 9 * SECOND)
    assert not passes(RecentlyAuthenticated, 11 * SECOND)


def test_a_view_may_ask_for_other_minutes() -> None:
    assert passes(RecentlyAuthenticated(minutes=60), 3599 * SECOND)
    assert not passes(RecentlyAuthenticated(minutes=60), 3601 * SECOND)
    assert passes(RecentlyAuthenticated(minutes=0.5), 29 * SECOND)
    assert not passes(RecentlyAuthenticated(minutes=0.5), 31 * SECOND)


def test_zero_minutes_are_never_recent() -> None:
    assert not passes(RecentlyAuthenticated(minutes=0), SECOND)


@pytest.mark.parametrize("auth", [None, object(), SimpleNamespace(auth_time=None), "a token"])
def test_what_says_no_time_is_not_recent(auth: Any) -> None:
    request = request_of(None)
    request.auth = auth
    assert not RecentlyAuthenticated().has_permission(request, None)


OLD, NEW = 3000 * SECOND, SECOND
# Instances: the stubs know `& | ~` of classes only.
FIVE: Any = RecentlyAuthenticated(minutes=5)
HUNDRED: Any = RecentlyAuthenticated(minutes=100)


@pytest.mark.parametrize(
    ("composed", "when_new", "when_old"),
    [
        (IsAuthenticated & RecentlyAuthenticated, True, False),
        (RecentlyAuthenticated & IsAuthenticated, True, False),
        (IsAuthenticated & FIVE, True, False),
        (FIVE & IsAuthenticated, True, False),
        (FIVE & HUNDRED, True, False),
        (FIVE | HUNDRED, True, True),
        (FIVE | IsAdminUser, True, False),
        (IsAdminUser | FIVE, True, False),
        (~RecentlyAuthenticated, False, True),
        (~FIVE, False, True),
        (~FIVE & IsAuthenticated, False, True),
    ],
)
def test_it_composes(composed: Any, when_new: bool, when_old: bool) -> None:
    assert passes(composed, NEW) is when_new
    assert passes(composed, OLD) is when_old


# --- in a view ---------------------------------------------------------------------------------------


class GuardedView(APIView):
    authentication_classes = (JWTCookieAuthentication,)
    permission_classes: Any = (IsAuthenticated, RecentlyAuthenticated(minutes=5))

    def get(self, request: Request) -> Response:
        return Response({})


class OpenView(GuardedView):
    permission_classes: Any = (AllowAny,)


urlpatterns = [path("guarded/", GuardedView.as_view()), path("open/", OpenView.as_view())]


@pytest.mark.control("ASVS-7.5.1")
@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_stranger_is_told_to_sign_in_and_an_old_session_to_prove_itself_again(django_user_model: Any) -> None:
    client = Client()
    response = client.get("/guarded/")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    session = sign_in(client, django_user_model.objects.create_user("ana", "ana@example.com", "x"))
    assert client.get("/guarded/").status_code == 200
    Session.objects.filter(pk=session.pk).update(auth_time=timezone.now() - timedelta(minutes=6))
    response = client.get("/guarded/")
    assert (response.status_code, response.json()["code"]) == (403, "step_up_required")
    assert client.get("/open/").status_code == 200
