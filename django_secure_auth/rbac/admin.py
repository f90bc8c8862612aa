"""Roles and grants in the admin. What changes there stands in the trail, with who changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.rbac.models import Role, RoleAssignment
from django_secure_auth.rbac.policy import CYCLE, makes_cycle, read_parents
from django_secure_auth.rbac.services import tell, withdraw

if TYPE_CHECKING:  # generic in the stubs only
    _RoleAdmin = admin.ModelAdmin[Role]
    _RoleAssignmentAdmin = admin.ModelAdmin[RoleAssignment]
    _RoleForm = forms.ModelForm[Role]
else:
    _RoleAdmin = _RoleAssignmentAdmin = admin.ModelAdmin
    _RoleForm = forms.ModelForm


class RoleForm(_RoleForm):
    def clean_parents(self) -> Any:
        """The admin saves in the transaction in which it validates, so that the lock holds until then."""
        parents = self.cleaned_data["parents"]
        if self.instance.pk is not None:
            Role.objects.lock()
            if makes_cycle(self.instance.pk, [parent.pk for parent in parents], read_parents()):
                raise forms.ValidationError(CYCLE)
        return parents


def _content(role: Role) -> dict[str, Any]:
    """What a role is, in plain values for the trail."""
    using = router.db_for_write(Role)
    permissions = role.permissions.using(using).order_by("content_type__app_label", "codename")
    named = permissions.values_list("content_type__app_label", "codename")
    return {
        "name": role.name,
        "second_step": role.requires_otp,  # what is called otp or code is redacted
        "permissions": [f"{app_label}.{codename}" for app_label, codename in named],
        "parents": list(role.parents.using(using).order_by("name").values_list("name", flat=True)),
    }


@admin.register(Role)
class RoleAdmin(_RoleAdmin):
    form = RoleForm
    list_display = ("name", "description", "requires_otp", "holders")
    list_filter = ("requires_otp",)
    search_fields = ("name", "description")
    filter_horizontal = ("permissions", "parents")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Role]:
        live = Q(assignments__expires_at=None) | Q(assignments__expires_at__gt=timezone.now())
        counted = Count("assignments__user", filter=live, distinct=True)
        return super().get_queryset(request).annotate(holder_count=counted)

    @admin.display(description=_("holders"), ordering="holder_count")
    def holders(self, role: Any) -> int:
        """Who was granted it, not who inherits it."""
        return int(role.holder_count)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Role | None:
        role = super().get_object(request, object_id, from_field)
        if role is not None and request.method == "POST":
            role.content_before = _content(role)  # type: ignore[attr-defined]  # until the change is told
        return role

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self._tell(request, form.instance, before=getattr(form.instance, "content_before", None), is_there=True)

    def delete_model(self, request: HttpRequest, obj: Role) -> None:
        before = _content(obj)
        super().delete_model(request, obj)
        self._tell(request, obj, before=before, is_there=False)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Role]) -> None:
        for role in queryset:
            self.delete_model(request, role)

    def _tell(self, request: HttpRequest, role: Role, *, before: dict[str, Any] | None, is_there: bool) -> None:
        after = _content(role) if is_there else None
        before, after = before or {}, after or {}
        changed = [name for name in before | after if before.get(name) != after.get(name)]
        if changed:
            details: dict[str, Any] = {
                "role": after.get("name") or before.get("name"),
                "from": {name: before.get(name) for name in changed},
                "to": {name: after.get(name) for name in changed},
            }
            record(events.PERMISSIONS_CHANGE, request=request, actor=request.user, **details)


class LiveFilter(admin.SimpleListFilter):
    title = pgettext_lazy("of a row", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("live", str(_("in force"))), ("expired", str(_("expired")))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        if self.value() == "live":
            return queryset.filter(Q(expires_at=None) | Q(expires_at__gt=now))
        return queryset.filter(expires_at__lte=now) if self.value() == "expired" else queryset


@admin.register(RoleAssignment)
class RoleAssignmentAdmin(_RoleAssignmentAdmin):
    """Whoever grants could grant himself anything: it takes the permission to change roles, too."""

    list_display = ("user", "role", "on", "is_in_force", "expires_at", "granted_by", "granted_at")
    list_filter = (LiveFilter, "role", "content_type", "granted_at")
    list_select_related = ("user", "role", "content_type", "granted_by")
    raw_id_fields = ("user",)
    fields = ("user", "role", "content_type", "object_id", "expires_at", "granted_by", "granted_at")
    show_full_result_count = False

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user = get_user_model()
        return [f"user__{user.get_email_field_name()}", f"user__{user.USERNAME_FIELD}", "role__name", "=object_id"]

    def get_readonly_fields(self, request: HttpRequest, obj: RoleAssignment | None = None) -> tuple[str, ...]:
        # Another user, role or object is another grant, to be told as one.
        fixed = ("user", "role", "content_type", "object_id") if obj is not None else ()
        return (*fixed, "granted_by", "granted_at")

    @admin.display(description=pgettext_lazy("where a role is granted", "on"), ordering="scope")
    def on(self, assignment: RoleAssignment) -> str:
        if assignment.content_type is None:
            return str(_("everything"))
        return f"{assignment.content_type} {assignment.object_id}"

    @admin.display(description=_("in force"), boolean=True)
    def is_in_force(self, assignment: RoleAssignment) -> bool:
        return assignment.is_live

    def save_model(self, request: Any, obj: RoleAssignment, form: Any, change: bool) -> None:
        if change and not form.changed_data:
            return
        obj.granted_by, obj.granted_at = request.user, timezone.now()
        super().save_model(request, obj, form, change)
        tell(obj, "granted", actor=request.user, request=request, is_new=not change)

    def delete_model(self, request: HttpRequest, obj: RoleAssignment) -> None:
        withdraw(obj, actor=request.user, request=request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RoleAssignment]) -> None:
        for assignment in queryset:
            self.delete_model(request, assignment)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and self._may_change_roles(request)

    def has_change_permission(self, request: HttpRequest, obj: RoleAssignment | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_change_roles(request)

    def has_delete_permission(self, request: HttpRequest, obj: RoleAssignment | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_change_roles(request)

    def _may_change_roles(self, request: Any) -> bool:
        return bool(request.user.has_perm("django_secure_auth.change_role"))
