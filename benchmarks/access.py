"""May somebody do something? A view for each question, and what is granted before; each set-up by its own means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.urls import path
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.setups import PERMITTED, Setup

# Django's groups are the objects: every set-up has their table.
ROLE, PERMISSION, OBJECT_PERMISSION = "editor", "auth.view_group", "auth.change_group"


class _Asking(APIView):
    """Answers when the question says yes."""

    def get(self, request: Request) -> Response:
        return Response({"id": str(request.user.pk)})


class _AskingOfAnObject(_Asking):
    def get(self, request: Request) -> Response:
        if not request.user.has_perm(OBJECT_PERMISSION, _known_object()):
            return Response(status=403)
        return super().get(request)


@cache
def _known_object() -> Any:
    """An object on which it was granted; to find it would cost everybody the same."""
    return Group.objects.order_by("pk")[0]


class _InGroup(BasePermission):
    """What everybody writes for a role of Django's."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user.groups.filter(name=ROLE).exists()


class _HasPerm(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user.has_perm(PERMISSION)


def _listing(find: Any) -> Any:
    class Listing(_Asking):
        def get(self, request: Request) -> Response:
            found = len(find(request.user))
            return Response({"found": found}, status=200 if found == PERMITTED else 500)

    return Listing


def views(setup: Setup) -> dict[str, Any]:
    """The view of each question that a set-up has an answer to."""
    return _VIEWS[setup.access]() if setup.access else {}


def _of_groups() -> dict[str, Any]:
    return {"role": _guarded(_InGroup), "permission": _guarded(_HasPerm)}


def _of_rules() -> dict[str, Any]:
    import rules  # noqa: PLC0415  # a peer, not there in the other processes

    is_editor = rules.is_group_member(ROLE)
    if not rules.perm_exists(PERMISSION):
        rules.add_perm(PERMISSION, is_editor)
        rules.add_perm(OBJECT_PERMISSION, is_editor)

    class IsEditor(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            return bool(is_editor.test(request.user))

    return {"role": _guarded(IsEditor), "permission": _guarded(_HasPerm), "object": _AskingOfAnObject}


def _of_guardian() -> dict[str, Any]:
    from guardian.shortcuts import get_objects_for_user  # noqa: PLC0415  # a peer, not there in the other processes

    def find(user: Any) -> list[Any]:
        return list(get_objects_for_user(user, OBJECT_PERMISSION, accept_global_perms=False))

    return {"object": _AskingOfAnObject, "list": _listing(find)}


def _of_ours() -> dict[str, Any]:
    from django_secure_auth.apikeys.authentication import APIKeyAuthentication  # noqa: PLC0415  # not there for peers
    from django_secure_auth.rbac.permissions import HasPermission, HasRole, HasScope  # noqa: PLC0415  # as above
    from django_secure_auth.rbac.services import queryset_for  # noqa: PLC0415  # as above

    def find(user: Any) -> list[Any]:
        return list(queryset_for(user, OBJECT_PERMISSION, Group))

    return {
        "role": _guarded(HasRole(ROLE)),
        "permission": _guarded(HasPermission(PERMISSION)),
        "object": _AskingOfAnObject,
        "list": _listing(find),
        "key": _guarded(HasScope("reports:read"), authentication_classes=[APIKeyAuthentication]),
    }


def _of_key_package() -> dict[str, Any]:
    from rest_framework_api_key.permissions import HasAPIKey  # noqa: PLC0415  # a peer, not there in other processes

    return {"key": _guarded(HasAPIKey, authentication_classes=[])}


_VIEWS: Mapping[str, Any] = {
    "groups": _of_groups,
    "rules": _of_rules,
    "guardian": _of_guardian,
    "ours": _of_ours,
    "api_key": _of_key_package,
}


def _guarded(permission: Any, **members: Any) -> Any:
    return type("Guarded", (_Asking,), {"permission_classes": [permission], **members})


def urls(setup: Setup) -> list[Any]:
    return [path(f"may/{question}/", view.as_view()) for question, view in views(setup).items()]


# --- what is granted ---------------------------------------------------------------------------------


def grant(setup: Setup, email: str, *, objects: int) -> str:
    """Give a user all that the questions ask for, and make the objects. Returns the key, where there is one."""
    missing = objects - Group.objects.count()
    made = (Group(name=f"object-{number}") for number in range(max(0, missing)))
    Group.objects.bulk_create(made, batch_size=1000)
    user = get_user_model()._default_manager.get(**{"username": email})
    permitted = list(Group.objects.order_by("pk")[:PERMITTED])
    return str(_GRANTS[setup.access](user, permitted) or "")


def _permission(name: str) -> Permission:
    app, _, codename = name.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)


def _grant_group(user: Any, _permitted: list[Any]) -> None:
    group, _ = Group.objects.get_or_create(name=ROLE)
    group.permissions.add(_permission(PERMISSION))
    user.groups.add(group)


def _grant_by_guardian(user: Any, permitted: list[Any]) -> None:
    from guardian.shortcuts import assign_perm  # noqa: PLC0415  # a peer, not there in the other processes

    assign_perm(OBJECT_PERMISSION, user, Group.objects.filter(pk__in=[one.pk for one in permitted]))


def _grant_ours(user: Any, permitted: list[Any]) -> str:
    from django_secure_auth.apikeys.services import create_key  # noqa: PLC0415  # not there in the peers' processes
    from django_secure_auth.rbac import services  # noqa: PLC0415  # as above
    from django_secure_auth.rbac.models import Role  # noqa: PLC0415  # as above

    for role, permission in ((ROLE, PERMISSION), ("keeper", OBJECT_PERMISSION)):
        found, _ = Role.objects.get_or_create(name=role)
        found.permissions.add(_permission(permission))
    services.grant(user, ROLE)
    for one in permitted:
        services.grant(user, "keeper", obj=one)
    return create_key(user, name="benchmark", scopes=["reports:read"])[1]


def _make_key(user: Any, _permitted: list[Any]) -> str:
    from rest_framework_api_key.models import APIKey  # noqa: PLC0415  # a peer, not there in the other processes

    return str(APIKey.objects.create_key(name="benchmark")[1])


_GRANTS: Mapping[str, Any] = {
    "groups": _grant_group,
    "rules": _grant_group,
    "guardian": _grant_by_guardian,
    "ours": _grant_ours,
    "api_key": _make_key,
}
