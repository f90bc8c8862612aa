"""Mailed links in the admin, to see what became of them. No token, nonce or binding is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from django_secure_auth.links.models import MailedLink

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[MailedLink]
else:
    _Admin = admin.ModelAdmin


@admin.register(MailedLink)
class MailedLinkAdmin(_Admin):
    list_display = ("purpose", "user", "email", "created_at", "mailed_at", "used_at", "expires_at", "closed_reason")
    list_filter = ("purpose", "closed_reason", "created_at")
    search_fields = ("=email", "=ip_address", "=id")
    fields = (
        "purpose", "user", "email", "device_label", "ip_address", "created_at", "mailed_at", "used_at", "expires_at",
        "closed_at", "closed_reason",
    )  # fmt: skip
    list_select_related = ("user",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
