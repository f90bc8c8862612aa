"""API keys in the admin: filter, search, revoke. None is made here.

A new key is shown once, and the admin would show it in a message: Django keeps messages in a cookie or in the table of
its sessions until a page shows them, and that is where a secret must not lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import revoke
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record

if TYPE_CHECKING:  # generic in the stubs only
    _APIKeyAdmin = admin.ModelAdmin[APIKey]
else:
    _APIKeyAdmin = admin.ModelAdmin


class AliveFilter(admin.SimpleListFilter):
    title = pgettext_lazy("of a row", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[APIKey]) -> list[tuple[str, str]]:
        return [("alive", str(_("alive"))), ("over", str(_("revoked, replaced or expired")))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey]:
        living = APIKey.objects.alive().values("pk")
        if self.value() == "alive":
            return queryset.filter(pk__in=living)
        if self.value() == "over":
            return queryset.exclude(pk__in=living)
        return queryset


@admin.register(APIKey)
class APIKeyAdmin(_APIKeyAdmin):
    list_display = ("public_id", "user", "name", "alive", "scopes", "last_used_at", "expires_at", "created_at")
    list_filter = (AliveFilter, "created_at", "last_used_at", "expires_at")
    list_select_related = ("user",)
    # All but the digest.
    fields = (
        "public_id", "user", "name", "alive", "scopes", "allowed_networks", "rate_limit", "created_at", "expires_at",
        "last_used_at", "retires_at", "revoked_at", "replaces",
    )  # fmt: skip
    actions = ("revoke_selected",)
    show_full_result_count = False
    list_per_page = 50

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user = get_user_model()
        return [f"user__{user.get_email_field_name()}", f"user__{user.USERNAME_FIELD}", "=public_id", "name"]

    @admin.display(boolean=True)
    def alive(self, key: APIKey) -> bool:
        return key.is_alive and key.user.is_active

    @admin.action(description=_("Revoke selected API keys"), permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        ended = sum(revoke(key, reason="admin", actor=request.user) for key in queryset)
        text = ngettext("%d API key was revoked.", "%d API keys were revoked.", ended) % ended
        self.message_user(request, text, messages.SUCCESS)

    def delete_model(self, request: HttpRequest, obj: APIKey) -> None:
        # It ends the key, and is told like any other end. What was revoked already said so.
        if not revoke(obj, reason="admin", actor=request.user):
            record(
                events.ADMIN_CHANGE, request=request, user=obj.user_id, actor=request.user, change="deleted",
                thing="apikey", id=obj.public_id,
            )  # fmt: skip
        super().delete_model(request, obj)

    def get_actions(  # type: ignore[override]  # stub: exact tuple
        self, request: HttpRequest, action_location: Any = None
    ) -> dict[str, object]:
        # Deleting a row would erase what there was; revoking keeps it until the purge.
        place = {} if action_location is None else {"action_location": action_location}  # Django 6.1
        actions = super().get_actions(request, **place)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False
