"""What roles carry, for `user.has_perm()`: DRF's model permissions, templates and the admin ask there."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import Permission
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from django_secure_auth.rbac.models import RoleAssignment, scope_of_object
from django_secure_auth.rbac.services import AnyUser, access_of, access_on, has_permission, split_permission


class RoleBackend(BaseBackend):
    """Put it first into AUTHENTICATION_BACKENDS: a role's permission is then found without a query, and Django's own
    backend is asked only for what no role gives.

    Without an object it knows what is held everywhere; with one, also what is held on that object. It signs nobody
    in. Who is inactive has nothing.
    """

    def get_user(self, user_id: Any) -> Any:
        """As Django's own backend: `force_login` of a test names the first backend in the session."""
        user = get_user_model()._default_manager.filter(pk=user_id).first()
        return user if user is not None and user.is_active else None

    def get_group_permissions(self, user_obj: AnyUser, obj: Model | None = None) -> set[str]:
        """Roles are to Django what groups are. `get_all_permissions` is made of it."""
        everywhere = access_of(user_obj).permissions
        return set(everywhere if obj is None else everywhere | access_on(user_obj, obj).permissions)

    def has_perm(self, user_obj: AnyUser, perm: str, obj: Model | None = None) -> bool:
        return has_permission(user_obj, perm, obj)

    def has_module_perms(self, user_obj: AnyUser, app_label: str) -> bool:
        return any(permission.startswith(f"{app_label}.") for permission in access_of(user_obj).permissions)

    def with_perm(
        self,
        perm: str | Permission,
        is_active: bool | None = True,
        include_superusers: bool = True,
        obj: Model | None = None,
    ) -> QuerySet[Any]:
        """Return the users who have a permission through a role, everywhere or, with `obj`, there."""
        if isinstance(perm, Permission):
            app_label, codename = perm.content_type.app_label, perm.codename
        else:
            app_label, codename = split_permission(perm)
        held = RoleAssignment.objects.live().filter(
            user=OuterRef("pk"),
            scope__in=[""] if obj is None else ["", scope_of_object(obj)],
            role__links__ancestor__permissions__codename=codename,
            role__links__ancestor__permissions__content_type__app_label=app_label,
        )
        wanted = Q(Exists(held))
        if include_superusers:
            wanted |= Q(is_superuser=True)
        if is_active is not None:
            wanted &= Q(is_active=is_active)
        return get_user_model()._default_manager.filter(wanted)
