"""Challenges, trusted devices and budgets in the admin. No secret, digest or nonce is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice

if TYPE_CHECKING:  # generic in the stubs only
    _OTPChallengeAdmin = admin.ModelAdmin[OTPChallenge]
    _TrustedDeviceAdmin = admin.ModelAdmin[TrustedDevice]
    _OTPBudgetAdmin = admin.ModelAdmin[OTPBudget]
else:
    _OTPChallengeAdmin = _TrustedDeviceAdmin = _OTPBudgetAdmin = admin.ModelAdmin


@admin.register(OTPChallenge)
class OTPChallengeAdmin(_OTPChallengeAdmin):
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
        return str(_("open")) if challenge.expires_at > timezone.now() else str(_("expired"))

    @admin.action(description=_("Close selected challenges"), permissions=["delete"])
    def close_selected(self, request: HttpRequest, queryset: QuerySet[OTPChallenge]) -> None:
        closed = OTPChallenge.objects.filter(pk__in=queryset.values("pk")).close("admin")
        text = ngettext("%d challenge was closed.", "%d challenges were closed.", closed) % closed
        self.message_user(request, text, messages.SUCCESS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OTPChallenge | None = None) -> bool:
        return False


@admin.register(TrustedDevice)
class TrustedDeviceAdmin(_TrustedDeviceAdmin):
    list_display = ("user", "alive", "label", "ip_address", "created_at", "expires_at")
    list_filter = ("created_at", "expires_at")
    list_select_related = ("user",)
    fields = ("user", "label", "ip_address", "created_at", "expires_at", "revoked_at")
    search_fields = ("=ip_address", "=id")
    actions = ("revoke_selected",)

    @admin.display(boolean=True)
    def alive(self, device: TrustedDevice) -> bool:
        return device.is_alive

    @admin.action(description=_("Stop trusting selected devices"), permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[TrustedDevice]) -> None:
        revoked = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        text = ngettext("%d device is no longer trusted.", "%d devices are no longer trusted.", revoked) % revoked
        self.message_user(request, text, messages.SUCCESS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TrustedDevice | None = None) -> bool:
        return False


@admin.register(OTPBudget)
class OTPBudgetAdmin(_OTPBudgetAdmin):
    """Deleting a row gives an account its codes back."""

    list_display = ("user", "wrong_in_a_row", "changed_at")
    list_select_related = ("user",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OTPBudget | None = None) -> bool:
        return False
