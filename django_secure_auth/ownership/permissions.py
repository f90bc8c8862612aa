"""A DRF permission: the object is the caller's."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from django_secure_auth.exceptions import NotFound
from django_secure_auth.ownership.policy import is_owner, is_somebody


class IsOwner(BasePermission):
    """Passes for objects that the caller owns by their model's `secure_auth_owner`; composes with `& | ~`.

    It answers with a boolean and raises nothing, so that `IsOwner | HasRole("editor")` asks the other side too. As an
    item of its own in `permission_classes`, its refusal of an object is a 404 under our exception handler, as if the
    object were missing. DRF asks it for single objects only; lists and creation are `OwnedViewMixin`'s.
    """

    code = NotFound.code
    message = NotFound.default_detail
    secure_auth_who = "owner"

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_somebody(request.user)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        exempt = getattr(view, "is_owner_exempt", None)
        return (exempt is not None and exempt(request)) or is_owner(request.user, obj)
