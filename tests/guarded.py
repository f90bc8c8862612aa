"""Every kind of view, guarded by the same rule: role `editor`, and a check whose verdict a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_secure_auth.decorators import requires

entered: list[str] = []
"""The views whose body has run."""
asked: list[tuple[Any, dict[str, Any]]] = []
"""What a check was given: the request's user, and what the URL says."""
verdict: Callable[[], Any] = lambda: True  # noqa: E731  # replaced by tests


def check(request: Any, **url: Any) -> Any:
    asked.append((request.user, url))
    return verdict()


async def check_later(request: Any, **url: Any) -> Any:
    asked.append((request.user, url))
    return verdict()


guard = requires("editor", check_func=check)
guard_later = requires("editor", check_func=check_later)


def _enter(request: Any) -> HttpResponse:
    entered.append(str(request.user.pk))
    return HttpResponse("entered")


# --- plain, sync -------------------------------------------------------------------------------------


@guard
def function(request: HttpRequest, pk: int) -> HttpResponse:
    return _enter(request)


class Method(View):
    @guard
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


class DecoratedMethod(View):
    @method_decorator(guard)
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


@method_decorator(guard, name="dispatch")
class DecoratedDispatch(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


@guard
class Class(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


class Heir(Class):
    """Guarded by what it inherits."""


class Plain(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


class Callable_:
    def __call__(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)


# --- plain, async ------------------------------------------------------------------------------------


@guard
async def async_function(request: HttpRequest, pk: int) -> HttpResponse:
    return _enter(request)


@guard_later
async def async_function_later(request: HttpRequest, pk: int) -> HttpResponse:
    return _enter(request)


class AsyncMethod(View):
    @guard_later
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


@guard_later
class AsyncClass(View):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


@guard_later
class Ground(View):
    """Has no handlers of its own: what comes after it says whether it is async."""


class AsyncHeir(Ground):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


class AsyncPlain(View):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)

    post = get


class AsyncCallable:
    async def __call__(self, request: HttpRequest, pk: int) -> HttpResponse:
        return _enter(request)


# --- DRF, with nothing else before them --------------------------------------------------------------


class Open(APIView):
    permission_classes = (AllowAny,)


class OpenSet(ViewSet):
    permission_classes = (AllowAny,)


@api_view(["GET", "POST"])
@permission_classes([AllowAny])
@guard
def api_below(request: Request, pk: int) -> Response:
    _enter(request)
    return Response("entered")


@guard
@api_view(["GET", "POST"])
@permission_classes([AllowAny])
def api_above(request: Request, pk: int) -> Response:
    _enter(request)
    return Response("entered")


class APIMethod(Open):
    @guard
    def get(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")

    post = get


@guard
class APIClass(Open):
    def get(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")

    post = get


class APIPlain(Open):
    def get(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")

    post = get


class Actions(OpenSet):
    @guard
    def retrieve(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")

    @action(detail=True)
    @guard
    def below(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")

    @guard
    @action(detail=True)
    def above(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")


@guard
class GuardedSet(OpenSet):
    def retrieve(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")


class PlainSet(OpenSet):
    def retrieve(self, request: Request, pk: int) -> Response:
        _enter(request)
        return Response("entered")


PLAIN: dict[str, Any] = {
    "function": function,
    "method": Method.as_view(),
    "decorated-method": DecoratedMethod.as_view(),
    "decorated-dispatch": DecoratedDispatch.as_view(),
    "class": Class.as_view(),
    "heir": Heir.as_view(),
    "as-view": guard(Plain.as_view()),
    "callable": guard(Callable_()),
}
ASYNC: dict[str, Any] = {
    "async-function": async_function,
    "async-function-later": async_function_later,
    "async-method": AsyncMethod.as_view(),
    "async-class": AsyncClass.as_view(),
    "async-heir": AsyncHeir.as_view(),
    "async-as-view": guard_later(AsyncPlain.as_view()),
    "async-callable": guard_later(AsyncCallable()),
}
if django.VERSION >= (6, 0):

    class AsyncDecoratedMethod(View):
        @method_decorator(guard_later)
        async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
            return _enter(request)

        post = get

    ASYNC["async-decorated-method"] = AsyncDecoratedMethod.as_view()
DRF: dict[str, Any] = {
    "api-below": api_below,
    "api-above": api_above,
    "api-method": APIMethod.as_view(),
    "api-class": APIClass.as_view(),
    "api-as-view": guard(APIPlain.as_view()),
    "set-action": Actions.as_view({"get": "retrieve", "post": "retrieve"}),
    "set-extra-below": Actions.as_view({"get": "below", "post": "below"}),
    "set-extra-above": Actions.as_view({"get": "above", "post": "above"}),
    "set-class": GuardedSet.as_view({"get": "retrieve", "post": "retrieve"}),
    "set-as-view": guard(PlainSet.as_view({"get": "retrieve", "post": "retrieve"})),
}
KINDS = {**PLAIN, **ASYNC, **DRF}

urlpatterns = [path(f"{name}/<int:pk>/", view, name=name) for name, view in KINDS.items()]
