"""Compromised passwords in the admin: add one, and its owner has to choose another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.passwords.models import CompromisedPassword
from django_secure_auth.recovery.services import mark_compromised
from django_secure_auth.sessions.state import password_fingerprint

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[CompromisedPassword]
    _Form = forms.ModelForm[CompromisedPassword]
else:
    _Admin, _Form = admin.ModelAdmin, forms.ModelForm


class _MarkForm(_Form):
    def validate_unique(self) -> None:
        """A mark of an earlier password is replaced."""


@admin.register(CompromisedPassword)
class CompromisedPasswordAdmin(_Admin):
    """Adding a row signs the user out everywhere. Deleting one lets the password count again."""

    form = _MarkForm
    list_display = ("user", "in_force", "reason", "since")
    list_filter = ("reason", "since")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    fields = ("user", "reason")
    actions = None

    @admin.display(boolean=True)
    def in_force(self, mark: CompromisedPassword) -> bool:
        return mark.password_fingerprint == password_fingerprint(mark.user.password)

    def save_model(
        self, request: HttpRequest, obj: CompromisedPassword, form: forms.ModelForm[Any], change: bool
    ) -> None:
        mark_compromised(obj.user, reason=obj.reason, actor=request.user, request=request)

    def delete_model(self, request: HttpRequest, obj: CompromisedPassword) -> None:
        user_id = obj.pk
        super().delete_model(request, obj)
        record(
            events.ADMIN_CHANGE, request=request, user=user_id, actor=request.user, change="deleted",
            thing="compromisedpassword",
        )  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: CompromisedPassword | None = None) -> bool:
        return False
