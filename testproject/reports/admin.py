from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from testproject.reports.models import Report

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[Report]
else:
    _Admin = admin.ModelAdmin


@admin.register(Report)
class ReportAdmin(_Admin):
    list_display = ("name", "count", "made_at")
    readonly_fields = ("made_at",)
