"""Accounts that are going to be closed, in the admin: deleting a row keeps the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.lifecycle.models import AccountClosing

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[AccountClosing]
else:
    _Admin = admin.ModelAdmin


@admin.register(AccountClosing)
class AccountClosingAdmin(_Admin):
    list_display = ("user", "asked_at", "closes_at")
    list_select_related = ("user",)
    fields = ("user", "asked_at", "closes_at")
    actions = None

    def delete_model(self, request: HttpRequest, obj: AccountClosing) -> None:
        user_id = obj.pk
        super().delete_model(request, obj)
        record(events.USER_KEPT, request=request, user=user_id, actor=request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
