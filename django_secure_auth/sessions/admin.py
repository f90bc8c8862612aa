"""Sessions in the admin: filter, search, end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session
from django_secure_auth.sessions.state import user_is_unchanged

if TYPE_CHECKING:  # generic in the stubs only
    _SessionAdmin = admin.ModelAdmin[Session]
else:
    _SessionAdmin = admin.ModelAdmin


class AliveFilter(admin.SimpleListFilter):
    title = pgettext_lazy("of a row", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Session]) -> list[tuple[str, str]]:
        # Not "alive": no database computes a password's fingerprint, so a changed account shows in the column only.
        return [("alive", str(_("neither ended nor timed out"))), ("ended", str(_("ended or timed out")))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        living = Session.objects.alive().values("pk")
        if self.value() == "alive":
            return queryset.filter(pk__in=living)
        if self.value() == "ended":
            return queryset.exclude(pk__in=living)
        return queryset


@admin.register(Session)
class SessionAdmin(_SessionAdmin):
    list_display: tuple[str, ...] = (
        "user", "alive", "device_label", "ip_address", "last_seen_at", "created_at", "revoked_reason",
    )  # fmt: skip
    list_filter = (AliveFilter, "remember_me", "created_at", "revoked_reason")
    list_select_related: ClassVar[tuple[str, ...]] = ("user",)
    # All but the salt and the fingerprint. Named, since an automatic form leaves out what cannot be edited: everything.
    fields = (
        "user", "alive", "device_label", "ip_address", "user_agent", "amr", "auth_time", "remember_me", "impersonator",
        "impersonation_reason", "created_at", "last_seen_at", "idle_at", "absolute_at", "generation", "rotated_at",
        "revoked_at", "revoked_reason",
    )  # fmt: skip
    actions = ("end_selected",)
    show_full_result_count = False
    list_per_page = 50

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user = get_user_model()
        return [f"user__{user.get_email_field_name()}", f"user__{user.USERNAME_FIELD}", "=ip_address", "=id"]

    @admin.display(boolean=True)
    def alive(self, session: Session) -> bool:
        return session.is_alive and user_is_unchanged(session)

    @admin.action(description=_("End selected sessions"), permissions=["delete"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        ended = sum(
            end_session(pk, user_id=user_id, reason="admin", actor=request.user)
            for pk, user_id in queryset.values_list("pk", "user_id")
        )
        text = ngettext("%d session was ended.", "%d sessions were ended.", ended) % ended
        self.message_user(request, text, messages.SUCCESS)

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        # It signs somebody out, and is told like any other end. What was over already said who had been signed in.
        if not end_session(obj.pk, user_id=obj.user_id, reason="admin", actor=request.user):
            record(
                events.ADMIN_CHANGE, request=request, user=obj.user_id, actor=request.user, session_id=obj.pk,
                change="deleted", thing="session",
            )  # fmt: skip
        super().delete_model(request, obj)

    def get_actions(  # type: ignore[override]  # stub: exact tuple
        self, request: HttpRequest, action_location: Any = None
    ) -> dict[str, object]:
        # Deleting a row would erase who was signed in; ending keeps it until the purge.
        place = {} if action_location is None else {"action_location": action_location}  # Django 6.1
        actions = super().get_actions(request, **place)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False
