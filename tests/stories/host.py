"""A host's URLs: ours, and views that a project writes around `log_in()`, `log_out()` and pollers."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.accounts.services import copy_cookies, log_in, log_out
from tests.urls import urlpatterns as suite


def _user(pk: str) -> Any:
    return get_user_model()._default_manager.get(pk=pk)


class SocialView(APIView):
    """The end of a social login: somebody else has proven who it is."""

    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]

    def get(self, request: Request, pk: str) -> Response:
        return log_in(request, _user(pk), amr=["sso"])


def social_page(request: HttpRequest, pk: str) -> HttpResponseBase:
    """The same as a plain view that redirects: the cookies move to its own answer."""
    answer = log_in(request, _user(pk), amr=["sso"], remember_me="remember" in request.GET)
    target = HttpResponseRedirect("/welcome/" if answer.status_code == 200 else "/code/")
    copy_cookies(answer, target)
    return target


@transaction.atomic
def social_page_that_fails(request: HttpRequest, pk: str) -> HttpResponseBase:
    log_in(request, _user(pk), amr=["sso"])
    raise RuntimeError("The host's view has a defect of its own.")


def social_bare(request: HttpRequest, pk: str) -> HttpResponseBase:
    return log_in(request, _user(pk), amr=["sso"])


def leave(request: HttpRequest) -> HttpResponseBase:
    answer = log_out(request)
    target = HttpResponse("bye")
    copy_cookies(answer, target)
    return target


class PollView(APIView):
    """Asked by a timer in the page: it checks the session and does not keep it alive."""

    secure_auth_background = True

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk)})


class OpenView(APIView):
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        return Response({"is_authenticated": request.user.is_authenticated})


class FailingView(APIView):
    """With ATOMIC_REQUESTS its transaction is rolled back."""

    def get(self, request: Request) -> Response:
        raise RuntimeError("a defect")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user.is_authenticated}")


def plain_poll(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user.is_authenticated}")


plain_poll.secure_auth_background = True  # type: ignore[attr-defined]  # how a host marks a function view

urlpatterns = [
    *suite,
    path("social/<str:pk>/", SocialView.as_view(), name="social"),
    path("social-page/<str:pk>/", social_page, name="social-page"),
    path("social-fails/<str:pk>/", social_page_that_fails, name="social-fails"),
    path("social-bare/<str:pk>/", social_bare, name="social-bare"),
    path("leave/", leave, name="leave"),
    path("poll/", PollView.as_view(), name="poll"),
    path("open/", OpenView.as_view(), name="open"),
    path("fails/", FailingView.as_view(), name="fails"),
    path("plain/", plain, name="plain"),
    path("plain-poll/", plain_poll, name="plain-poll"),
]
