from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from django_secure_auth.ownership.admin import OwnedAdminMixin
from testproject.notes.models import Note

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[Note]
else:
    _Admin = admin.ModelAdmin


@admin.register(Note)
class NoteAdmin(OwnedAdminMixin, _Admin):
    list_display = ("title", "owner", "created_at", "is_published")
    list_filter = ("is_published",)
    search_fields = ("title",)
    readonly_fields = ("created_at",)
