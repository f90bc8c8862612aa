"""Security events in the admin: to read, filter and search, never to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from django_secure_auth.audit.models import SecurityEvent

if TYPE_CHECKING:  # generic in the stubs only
    _SecurityEventAdmin = admin.ModelAdmin[SecurityEvent]
else:
    _SecurityEventAdmin = admin.ModelAdmin


@admin.register(SecurityEvent)
class SecurityEventAdmin(_SecurityEventAdmin):
    list_display = ("at", "severity", "event", "message", "user_id", "ip_address")
    list_filter = ("severity", "event_type", "event", "occurred_at")
    search_fields = ("=user_id", "=session_id", "=ip_address", "=request_id")
    search_help_text = "User id, session id, address or request id, exactly."
    date_hierarchy = "occurred_at"
    show_full_result_count = False  # a count over a trail of millions of rows costs seconds
    list_per_page = 50

    @admin.display(description="occurred at", ordering="id")
    def at(self, event: SecurityEvent) -> str:
        # To the second: minutes do not tell which of two events came first.
        return f"{timezone.localtime(event.occurred_at):%Y-%m-%d %H:%M:%S}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: SecurityEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SecurityEvent | None = None) -> bool:
        return False
