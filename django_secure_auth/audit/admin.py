"""Security events and their seals in the admin: to read, filter, search and export, never to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_secure_auth.audit import events
from django_secure_auth.audit.export import event_lines
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.audit.verify import judge

if TYPE_CHECKING:  # generic in the stubs only
    _SecurityEventAdmin = admin.ModelAdmin[SecurityEvent]
    _AuditSealAdmin = admin.ModelAdmin[AuditSeal]
else:
    _SecurityEventAdmin = _AuditSealAdmin = admin.ModelAdmin

_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


_MOST_WAITING = 10_000


def _state_of_the_chain() -> str:
    """Say how many rows wait for a seal, and since when. It looks at those alone, and counts to a bound."""
    last = AuditSeal.objects.defer("tags").first()
    rows = SecurityEvent.objects.filter(pk__gt=last.upto_id) if last is not None else SecurityEvent.objects.all()
    waiting = rows.order_by("pk")[:_MOST_WAITING].count()
    sealed = f"{timezone.localtime(last.sealed_at):%Y-%m-%d %H:%M}" if last is not None else _("never")
    most = f"{_MOST_WAITING}+" if waiting == _MOST_WAITING else waiting
    return str(_("Rows that wait for a seal: {rows}. Last seal: {sealed}.").format(rows=most, sealed=sealed))


class ReadOnlyMixin:
    """Nobody adds, changes or deletes here, not even a superuser. Lists say how the chain stands."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"subtitle": _state_of_the_chain(), **(extra_context or {})}
        answer: HttpResponse = super().changelist_view(request, context)  # type: ignore[misc]  # of the admin it is mixed into
        return answer

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyMixin, _SecurityEventAdmin):
    list_display = ("at", "severity", "event", "message", "user_id", "ip_address", "seal")
    list_filter = ("severity", "event_type", "event", "occurred_at")
    search_fields = ("=user_id", "=session_id", "=ip_address", "=request_id")
    search_help_text = "User id, session id, address or request id, exactly."
    date_hierarchy = "occurred_at"
    show_full_result_count = False  # a count over a trail of millions of rows costs seconds
    list_per_page = 50
    actions = ("export_jsonl", "export_csv")
    readonly_fields = ("seal", "integrity")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SecurityEvent]:
        # One look into an index for each row that is shown.
        sealed = AuditSeal.objects.filter(upto_id__gte=OuterRef("pk")).order_by("upto_id")
        return super().get_queryset(request).annotate(seal_number=Subquery(sealed.values("number")[:1]))

    @admin.display(description="occurred at", ordering="id")
    def at(self, event: SecurityEvent) -> str:
        # To the second: minutes do not tell which of two events came first.
        return f"{timezone.localtime(event.occurred_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("seal"))
    def seal(self, event: SecurityEvent) -> str:
        number = getattr(event, "seal_number", None)
        return str(_("waits")) if number is None else str(number)

    @admin.display(description=_("integrity"))
    def integrity(self, event: SecurityEvent) -> str:
        # The row by itself; whether it stands where it was sealed says `secure_auth_audit verify`.
        verdict = judge(event)
        return f"{verdict[0]}: {verdict[1]}" if verdict else str(_("The content fits its MAC."))

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_secure_auth.export_securityevent")

    @admin.action(description=_("Export selected events as JSON Lines"), permissions=["export"])
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[SecurityEvent]) -> StreamingHttpResponse:
        return _export(request, queryset, "jsonl")

    @admin.action(description=_("Export selected events as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[SecurityEvent]) -> StreamingHttpResponse:
        return _export(request, queryset, "csv")


def _export(request: HttpRequest, rows: QuerySet[SecurityEvent], format: str) -> StreamingHttpResponse:
    record(events.AUDIT_EXPORTED, request=request, user=request.user, format=format, reason="admin")
    answer = StreamingHttpResponse(event_lines(rows, format), content_type=_TYPES[format])
    # The name is ours; nothing of the request goes into it (ASVS 5.4.1).
    answer["Content-Disposition"] = f'attachment; filename="security-events.{format}"'
    return answer


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnlyMixin, _AuditSealAdmin):
    list_display = ("number", "sealed_at", "first_row", "last_row", "late_rows", "key_id", "purged_at")
    list_filter = ("sealed_at", "purged_at")
    fields = (
        "number", "sealed_at", "first_row", "last_row", "late_rows", "newest_at", "root", "own_digest", "previous",
        "key_id", "mac", "purged_at", "purged_rows",
    )  # fmt: skip
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditSeal]:
        return super().get_queryset(request).defer("tags")  # tens of thousands of characters each

    @admin.display(description=_("late rows"))
    def late_rows(self, seal: AuditSeal) -> int:
        return len(seal.late)

    @admin.display(description=_("digest"))
    def own_digest(self, seal: AuditSeal) -> str:
        return seal.digest()
