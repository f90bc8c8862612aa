"""Challenges, trusted devices and budgets in the admin. No secret, digest or nonce is shown."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice

if TYPE_CHECKING:  # generic in the stubs only
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


def _tell(request: HttpRequest, change: str, *rows: OTPChallenge | TrustedDevice | OTPBudget) -> None:
    for row in rows:
        record(
            events.ADMIN_CHANGE, request=request, user=row.user_id, actor=request.user, change=change,
            thing=row._meta.model_name, id=str(row.pk),
        )  # fmt: skip


class _ToldAdmin(_Admin):
    """Rows are not added or changed; what is deleted is told, with who deleted it."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        row = copy(obj)  # deleting takes its key away
        super().delete_model(request, obj)
        _tell(request, "deleted", row)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rows = list(queryset)
        super().delete_queryset(request, queryset)
        _tell(request, "deleted", *rows)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(OTPChallenge)
class OTPChallengeAdmin(_ToldAdmin):
    list_display = ("created_at", "user", "purpose", "state", "attempts", "device_label", "ip_address")
    list_filter = ("purpose", "created_at", "closed_reason")
    list_select_related = ("user",)
    fields = (
        "user", "purpose", "email", "device_label", "ip_address", "created_at", "expires_at", "attempts",
        "send_number", "mailed_number", "used_at", "closed_at", "closed_reason",
    )  # fmt: skip
    search_fields = ("=email", "=ip_address", "=id")
    actions = ("close_selected",)
    show_full_result_count = False

    @admin.display
    def state(self, challenge: OTPChallenge) -> str:
        if challenge.used_at:
            return str(_("approved"))
        if challenge.closed_at:
            return str(_("closed"))
        return pgettext("of a challenge", "open") if challenge.expires_at > timezone.now() else str(_("expired"))

    @admin.action(description=_("Close selected challenges"), permissions=["delete"])
    def close_selected(self, request: HttpRequest, queryset: QuerySet[OTPChallenge]) -> None:
        closed = [row for row in queryset if OTPChallenge.objects.filter(pk=row.pk).close("admin")]
        _tell(request, "closed", *closed)
        text = ngettext("%d challenge was closed.", "%d challenges were closed.", len(closed)) % len(closed)
        self.message_user(request, text, messages.SUCCESS)


@admin.register(TrustedDevice)
class TrustedDeviceAdmin(_ToldAdmin):
    list_display = ("user", "alive", "is_approved", "label", "ip_address", "created_at", "expires_at")
    list_filter = ("is_approved", "created_at", "expires_at")
    list_select_related = ("user",)
    fields = ("user", "is_approved", "label", "ip_address", "created_at", "expires_at", "revoked_at")
    search_fields = ("=ip_address", "=id")
    actions = ("revoke_selected",)

    @admin.display(boolean=True)
    def alive(self, device: TrustedDevice) -> bool:
        return device.is_alive

    @admin.action(description=_("Stop trusting selected devices"), permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[TrustedDevice]) -> None:
        now = timezone.now()
        trusted = TrustedDevice.objects.filter(revoked_at=None)
        revoked = [row for row in queryset if trusted.filter(pk=row.pk).update(revoked_at=now)]
        _tell(request, "distrusted", *revoked)
        count = len(revoked)
        text = ngettext("%d device is no longer trusted.", "%d devices are no longer trusted.", count) % count
        self.message_user(request, text, messages.SUCCESS)


@admin.register(OTPBudget)
class OTPBudgetAdmin(_ToldAdmin):
    """Deleting a row gives an account its codes back."""

    list_display = ("user", "wrong_in_a_row", "changed_at")
    list_select_related = ("user",)
