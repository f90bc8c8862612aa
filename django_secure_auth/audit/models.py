"""The trail: one row per event, written once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NoReturn

from django.db import models, router
from django.utils import timezone


class TrailIsAppendOnly(Exception):
    """Somebody tried to change or delete a security event through the ORM."""


class SecurityEventQuerySet(models.QuerySet["SecurityEvent"]):
    """Insert and read. Changing a row is refused here; a database user without UPDATE makes it certain."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise TrailIsAppendOnly("Security events are never changed.")

    def bulk_create(
        self,
        objs: Iterable[SecurityEvent],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[SecurityEvent]:
        if update_conflicts:  # an UPDATE by another name
            raise TrailIsAppendOnly("Security events are never changed.")
        return super().bulk_create(objs, batch_size=batch_size, ignore_conflicts=ignore_conflicts)

    def delete(self) -> NoReturn:
        raise TrailIsAppendOnly("Security events are never deleted; secure_auth_purge applies AUDIT_RETENTION.")

    def expire(self, *, before: datetime) -> int:
        """Delete events past retention. For `secure_auth_purge` only."""
        return self.filter(occurred_at__lt=before)._raw_delete(router.db_for_write(self.model))


class SecurityEvent(models.Model):
    """Plain values, no foreign keys: the trail outlives the rows that it speaks of."""

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(default=timezone.now, db_index=True)
    event_type = models.CharField(max_length=32, db_index=True)
    event = models.CharField(max_length=64)
    severity = models.CharField(max_length=8)
    message = models.CharField(max_length=255)
    user_id = models.CharField(max_length=64, blank=True)
    actor_id = models.CharField(max_length=64, blank=True)
    session_id = models.CharField(max_length=36, blank=True)
    ip_address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=256, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict, blank=True)

    objects = SecurityEventQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["user_id", "-id"], name="secure_auth_event_user")]

    def __str__(self) -> str:
        return f"{self.occurred_at:%Y-%m-%d %H:%M:%S} {self.event}"

    def save(self, *, using: str | None = None, **_: Any) -> None:
        if not self._state.adding:
            raise TrailIsAppendOnly("Security events are never changed.")
        # By force: a new instance under an old key would be an UPDATE otherwise.
        super().save(force_insert=True, using=using)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TrailIsAppendOnly("Security events are never deleted; secure_auth_purge applies AUDIT_RETENTION.")
