"""Django's admin for those who may see their own rows only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from django_secure_auth.ownership.policy import owned, require_rule, rule_of

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class OwnedAdminMixin(_Admin):
    """`class NoteAdmin(OwnedAdminMixin, admin.ModelAdmin)`: staff see, change and refer to their own rows only.

    Superusers see all; override `is_owner_exempt` for another choice. A foreign row is what a missing one is to the
    admin. Which models somebody may open at all stays a matter of Django's permissions.
    """

    def is_owner_exempt(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset = super().get_queryset(request)
        require_rule(queryset.model)
        return queryset if self.is_owner_exempt(request) else owned(queryset, request.user)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is None or self.is_owner_exempt(request):
            return field
        if db_field.name == require_rule(self.model).path:
            field.queryset = field.queryset.filter(pk=request.user.pk)
            field.initial = request.user.pk
            return field
        return self._narrowed(field, request)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        return field if field is None or self.is_owner_exempt(request) else self._narrowed(field, request)

    def _narrowed(self, field: Any, request: HttpRequest) -> Any:
        if rule_of(field.queryset.model) is not None:
            field.queryset = owned(field.queryset, request.user)
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """A new row whose form leaves the owner out belongs to who adds it."""
        rule = require_rule(self.model)
        if not change and rule.is_direct and getattr(obj, rule.keys[0].attname) is None:
            setattr(obj, rule.path, request.user)
        super().save_model(request, obj, form, change)
