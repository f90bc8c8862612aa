"""A host's URLconf with every way of guarding a view, and of forgetting to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_not_required, login_required, permission_required, user_passes_test
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework import permissions as drf
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_secure_auth.decorators import requires
from django_secure_auth.ownership.permissions import IsOwner
from django_secure_auth.rbac.permissions import HasRole, RecentlyAuthenticated

entered: list[str] = []


def plain(request: Any, **kwargs: Any) -> HttpResponse:
    entered.append(request.path)
    return HttpResponse("entered")


async def async_plain(request: HttpRequest) -> HttpResponse:
    return plain(request)


def _is_lucky(user: Any) -> bool:
    return bool(user.is_authenticated)


def silent(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not say what it wraps."""

    def inner(request: HttpRequest) -> Any:
        return view(request)

    return inner


def honest(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def inner(request: HttpRequest, **kwargs: Any) -> Any:
        return view(request, **kwargs)

    return inner


def choosy(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that takes only what it knows."""
    if view.__name__ == "<lambda>":
        raise TypeError
    return view


class Page(View):
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return plain(request)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return plain(request)


class Mixed(LoginRequiredMixin, Page):
    pass


class MixedTooLate(Page, LoginRequiredMixin):
    """View's own dispatch comes first, and calls nobody."""


class Permitted(PermissionRequiredMixin, Page):
    permission_required = ("auth.view_group", "auth.add_group")


class PermittedByNothing(PermissionRequiredMixin, Page):
    permission_required = ()


class Tested(UserPassesTestMixin, Page):
    def test_func(self) -> bool:
        return _is_lucky(self.request.user)


class HalfGuarded(Page):
    @requires("editor")
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return plain(request)


class MethodDecorated(Page):
    @method_decorator([choosy, requires("editor")])
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return plain(request)

    @method_decorator(login_required)
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return plain(request)


@method_decorator(login_required, name="dispatch")
class DispatchDecorated(Page):
    pass


class HeirOfDecorated(DispatchDecorated):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)


@requires("editor")
class Guarded(Page):
    pass


class DeclaredOpen(Page):
    secure_auth_open = "a shop window"


class DeclaredBlank(Page):
    secure_auth_open = "  "


def declared(request: HttpRequest) -> HttpResponse:
    return plain(request)


declared.secure_auth_open = "for everybody"  # type: ignore[attr-defined]  # how a host marks a function view


class Feed:
    def __call__(self, request: HttpRequest) -> HttpResponse:
        return plain(request)


class Site:
    def page(self, request: HttpRequest) -> HttpResponse:
        return plain(request)

    @method_decorator(login_required)
    def inside(self, request: HttpRequest) -> HttpResponse:
        return plain(request)


# --- DRF ---------------------------------------------------------------------------------------------


class Endpoint(APIView):
    def get(self, request: Request, **kwargs: Any) -> Response:
        plain(request)
        return Response("entered")

    def post(self, request: Request, **kwargs: Any) -> Response:
        plain(request)
        return Response("entered")


def endpoint(*classes: Any, **more: Any) -> Any:
    made: Any = type("Endpoint", (Endpoint,), {"permission_classes": list(classes), **more})
    return made.as_view()


class IsLucky(drf.BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user.is_authenticated


class IsTheirs(drf.BasePermission):
    """Asked for objects only: never on a list, never on creation."""

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return False


class IsTheirsAndSignedIn(drf.IsAuthenticated):
    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return False


class OfTheTenant(IsLucky):
    secure_auth_who = "members of the tenant"


class OwnAnd(drf.AND):
    """An operator that also writes down who was refused."""


holder: Any = drf.OperandHolder


class ReadsFreely(drf.DjangoModelPermissionsOrAnonReadOnly):
    pass


class ByAction(ViewSet):
    def get_permissions(self) -> list[Any]:
        return [drf.AllowAny()] if self.action == "list" else [drf.IsAdminUser()]

    def list(self, request: Request) -> Response:
        plain(request)
        return Response("entered")

    def create(self, request: Request) -> Response:
        plain(request)
        return Response("entered")

    @action(detail=False, methods=["get", "post"], permission_classes=[drf.IsAuthenticated])
    def extra(self, request: Request) -> Response:
        plain(request)
        return Response("entered")

    @action(detail=True)
    @requires("editor")
    def guarded(self, request: Request, pk: str) -> Response:
        plain(request)
        return Response("entered")


class Slow(AnonRateThrottle):
    rate = "1000/min"


class OwnRules(Endpoint):
    permission_classes = (drf.IsAuthenticated,)

    def check_permissions(self, request: Request) -> None:
        """Everybody."""


class Failing(Endpoint):
    def get_permissions(self) -> list[Any]:
        raise LookupError("no tenant")


@requires("editor")
class GuardedEndpoint(Endpoint):
    permission_classes = (drf.AllowAny,)


class HeirOfGuarded(GuardedEndpoint):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)


class Groups(Endpoint):
    permission_classes = (drf.DjangoModelPermissions,)
    queryset: ClassVar[Any] = Group.objects.all()


class FreeGroups(Groups):
    permission_classes = (ReadsFreely,)


@api_view(["POST"])
@permission_classes([drf.IsAdminUser | drf.AllowAny])
def api(request: Request) -> Response:
    plain(request)
    return Response("entered")


@api_view(["GET"])
@permission_classes([drf.AllowAny])
@requires("editor")
def api_below(request: Request) -> Response:
    plain(request)
    return Response("entered")


router = DefaultRouter()
router.register("things", ByAction, basename="thing")

# name → view, methods → (who, is open)
VIEWS: dict[str, tuple[Any, dict[str, tuple[str, bool]]]] = {
    "plain": (plain, {"ANY": ("anyone", True)}),
    "async-plain": (async_plain, {"ANY": ("anyone", True)}),
    "login": (login_required(plain), {"ANY": ("signed in", False)}),
    "async-login": (login_required(async_plain), {"ANY": ("signed in", False)}),
    "permission": (permission_required("auth.add_group")(plain), {"ANY": ("permission auth.add_group", False)}),
    "async-permission": (
        permission_required(["auth.add_group"], raise_exception=True)(async_plain),
        {"ANY": ("permission auth.add_group", False)},
    ),
    "no-permission": (permission_required([])(plain), {"ANY": ("anyone", True)}),
    "test": (user_passes_test(_is_lucky)(plain), {"ANY": ("test _is_lucky", False)}),
    "staff": (staff_member_required(plain), {"ANY": ("staff", False)}),
    "requires": (requires("editor", "admin")(plain), {"ANY": ("role editor or admin", False)}),
    "requires-twice": (requires("a")(requires("b")(plain)), {"ANY": ("role a and role b", False)}),
    "requires-broken": (
        requires("")(plain),
        {"ANY": ("nobody: a role is a non-empty string, not ''", False)},
    ),
    "post-only": (require_POST(login_required(plain)), {"POST": ("signed in", False)}),
    "read-only": (login_required(require_safe(plain)), {"GET": ("signed in", False)}),
    "some-methods": (require_http_methods(["PUT", "PATCH"])(plain), {"PUT, PATCH": ("anyone", True)}),
    "honest": (honest(honest(login_required(plain))), {"ANY": ("signed in", False)}),
    "silent": (silent(login_required(plain)), {"ANY": ("anyone", True)}),
    "partial": (functools.partial(login_required(plain), flag=True), {"ANY": ("signed in", False)}),
    "callable": (Feed(), {"ANY": ("anyone", True)}),
    "bound": (Site().page, {"ANY": ("anyone", True)}),
    "bound-inside": (Site().inside, {"ANY": ("signed in", False)}),
    "page": (Page.as_view(), {"GET, POST": ("anyone", True)}),
    "page-login": (login_required(Page.as_view()), {"GET, POST": ("signed in", False)}),
    "mixed": (Mixed.as_view(), {"GET, POST": ("signed in", False)}),
    "mixed-too-late": (MixedTooLate.as_view(), {"GET, POST": ("anyone", True)}),
    "permitted": (Permitted.as_view(), {"GET, POST": ("permission auth.view_group and auth.add_group", False)}),
    "permitted-by-nothing": (PermittedByNothing.as_view(), {"GET, POST": ("anyone", True)}),
    "tested": (Tested.as_view(), {"GET, POST": ("test Tested.test_func", False)}),
    "half-guarded": (HalfGuarded.as_view(), {"GET": ("anyone", True), "POST": ("role editor", False)}),
    "method-decorated": (
        MethodDecorated.as_view(),
        {"GET": ("role editor", False), "POST": ("signed in", False)},
    ),
    "dispatch-decorated": (DispatchDecorated.as_view(), {"GET, POST": ("signed in", False)}),
    "heir-of-decorated": (HeirOfDecorated.as_view(), {"GET, POST": ("signed in", False)}),
    "guarded": (Guarded.as_view(), {"GET, POST": ("role editor", False)}),
    "exempt": (csrf_exempt(Page.as_view()), {"GET, POST": ("anyone", True)}),
    "requires-exempt": (requires("editor")(csrf_exempt(plain)), {"ANY": ("role editor", False)}),
    "declared-open": (DeclaredOpen.as_view(), {"GET, POST": ("anyone", True)}),
    "declared-blank": (DeclaredBlank.as_view(), {"GET, POST": ("anyone", True)}),
    "declared": (declared, {"ANY": ("anyone", True)}),
    "login-not-required": (login_not_required(honest(plain)), {"ANY": ("anyone", True)}),
    "api-default": (Endpoint.as_view(), {"GET, POST": ("signed in", False)}),
    "api-open": (endpoint(drf.AllowAny), {"GET, POST": ("anyone", True)}),
    "api-nothing": (endpoint(), {"GET, POST": ("anyone", True)}),
    "api-initkwargs": (
        Endpoint.as_view(permission_classes=[drf.AllowAny]),
        {"GET, POST": ("anyone", True)},
    ),
    "api-login-outside": (login_required(endpoint(drf.AllowAny)), {"GET, POST": ("signed in", False)}),
    "api-staff": (endpoint(drf.IsAdminUser), {"GET, POST": ("staff", False)}),
    "api-read-only": (
        endpoint(drf.IsAuthenticatedOrReadOnly),
        {"GET": ("anyone", True), "POST": ("signed in", False)},
    ),
    "api-model": (Groups.as_view(), {"GET, POST": ("model permissions", False)}),
    "api-model-free": (FreeGroups.as_view(), {"GET": ("anyone", True), "POST": ("model permissions", False)}),
    "api-and": (
        endpoint(drf.IsAuthenticated & RecentlyAuthenticated(minutes=5)),
        {"GET, POST": ("recently signed in", False)},
    ),
    "api-owner": (endpoint(IsOwner), {"GET, POST": ("owner", False)}),
    "api-owner-or": (endpoint(IsOwner | HasRole("editor")), {"GET, POST": ("owner or role editor", False)}),
    "api-own-and": (
        endpoint(holder(OwnAnd, drf.IsAuthenticated, OfTheTenant)),
        {"GET, POST": ("members of the tenant", False)},
    ),
    "api-or": (endpoint(drf.IsAdminUser | OfTheTenant), {"GET, POST": ("staff or members of the tenant", False)}),
    "api-or-and": (
        endpoint(drf.IsAdminUser | (OfTheTenant & RecentlyAuthenticated)),
        {"GET, POST": ("staff or (members of the tenant and recently signed in)", False)},
    ),
    "api-or-open": (endpoint(drf.IsAdminUser | drf.AllowAny), {"GET, POST": ("anyone", True)}),
    "api-not": (endpoint(~drf.IsAuthenticated), {"GET, POST": ("anyone", True)}),
    "api-not-anyone": (endpoint(~drf.AllowAny), {"GET, POST": ("not anyone", False)}),
    "api-not-unknown": (endpoint(~IsLucky), {"GET, POST": ("not (unknown: IsLucky)", True)}),
    "api-unknown": (endpoint(IsLucky), {"GET, POST": ("unknown: IsLucky", True)}),
    "api-unknown-or": (endpoint(IsLucky | drf.IsAdminUser), {"GET, POST": ("unknown: IsLucky or staff", True)}),
    "api-unknown-and": (
        endpoint(drf.IsAuthenticated, IsLucky),
        {"GET, POST": ("signed in and unknown: IsLucky", False)},
    ),
    "api-objects": (endpoint(IsTheirs), {"GET, POST": ("anyone", True)}),
    "api-objects-signed-in": (endpoint(IsTheirsAndSignedIn), {"GET, POST": ("signed in", False)}),
    "api-declared-who": (endpoint(OfTheTenant), {"GET, POST": ("members of the tenant", False)}),
    "api-declared-open": (
        endpoint(drf.AllowAny, secure_auth_open="a public price list"),
        {"GET, POST": ("anyone", True)},
    ),
    "api-own-rules": (OwnRules.as_view(), {"GET, POST": ("unknown: a check_permissions of its own", True)}),
    "api-own-rules-guarded": (
        requires("editor")(OwnRules.as_view()),
        {"GET, POST": ("unknown: a check_permissions of its own and role editor", False)},
    ),
    "api-failing": (Failing.as_view(), {"ANY": ("unknown", True)}),
    "api-guarded": (GuardedEndpoint.as_view(), {"GET, POST": ("role editor", False)}),
    "api-heir-of-guarded": (HeirOfGuarded.as_view(), {"GET, POST": ("role editor", False)}),
    "api-session": (
        endpoint(drf.IsAuthenticated, authentication_classes=[SessionAuthentication], throttle_classes=[Slow]),
        {"GET, POST": ("signed in", False)},
    ),
    "api-nobody": (endpoint(drf.IsAuthenticated, authentication_classes=[]), {"GET, POST": ("signed in", False)}),
    "api-function": (api, {"POST": ("anyone", True)}),
    "api-function-below": (api_below, {"GET": ("role editor", False)}),
    "api-function-above": (requires("editor")(api), {"POST": ("role editor", False)}),
}

inner = [path("<int:pk>/", plain, name="one"), re_path(r"^(?P<slug>[a-z]+)/$", login_required(plain), name="two")]
urlpatterns = [
    *(path(f"{name}/", view, name=name) for name, (view, _) in VIEWS.items()),
    path("nested/", include((inner, "outer"), namespace="here")),
    path("nested-again/", include([path("deep/", include((inner, "outer"), namespace="there"))])),
    path("router/", include(router.urls)),
]
