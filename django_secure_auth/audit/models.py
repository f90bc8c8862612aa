"""The trail: one row per event, written once, each with a MAC; and the seals over ranges of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from django.db import models
from django.utils import timezone

from django_secure_auth.conf import secret_ring
from django_secure_auth.kit.seals import canonical, canonical_texts, commitment, digest, mac, new_salt

if TYPE_CHECKING:  # generic in the stubs only
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


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


def in_utc(moment: datetime) -> str:
    """Return one spelling of a moment, whatever time zone a database answers in."""
    if moment.tzinfo is None:  # with USE_TZ off
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class _SigningField(_CharField):
    """The salt of a row, made when the row is inserted, and with it what is worked out of the whole row.

    A field, since every way of the ORM to insert asks its fields for their values, and no other hook sees them all.
    It stands before the columns that it fills.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        if add:
            cast("SecurityEvent", model_instance).sign()
        return super().pre_save(model_instance, add)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


ERASED = "erased:"
"""What a salt begins with when it and the personal data of its row are gone; a MAC of ours follows."""

_MAC_LENGTH = 43
PERSONAL = ("user_id", "actor_id", "session_id", "ip_address", "user_agent")


class SecurityEvent(models.Model):
    """Plain values, no foreign keys: the trail outlives the rows that it speaks of.

    `mac` covers the row; of personal data and details it covers a salted commitment, so that they can be erased and
    the MAC still fits. No two commitments are the same: it is also the name by which a copied row is found.
    """

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
    salt = _SigningField(max_length=128, blank=True, editable=False)
    commitment = models.CharField(max_length=_MAC_LENGTH, blank=True, editable=False)
    key_id = models.CharField(max_length=64, blank=True, editable=False)
    mac = models.CharField(max_length=_MAC_LENGTH, blank=True, editable=False)

    objects = SecurityEventQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["user_id", "-id"], name="secure_auth_event_user")]
        permissions = [("export_securityevent", "Can export security events")]

    def __str__(self) -> str:
        return f"{self.occurred_at:%Y-%m-%d %H:%M:%S} {self.event}"

    def save(self, *, using: str | None = None, **_: Any) -> None:
        if not self._state.adding:
            raise TrailIsAppendOnly("Security events are never changed.")
        # By force: a new instance under an old key would be an UPDATE otherwise.
        super().save(force_insert=True, using=using)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TrailIsAppendOnly("Security events are never deleted; secure_auth_purge applies AUDIT_RETENTION.")

    def sign(self) -> None:
        """Set the salt, the commitment and the MAC of a row that is about to be inserted. It looks at no neighbour."""
        key = secret_ring("audit").first
        self.salt = new_salt()
        self.commitment = commitment(self.salt, self.personal())
        self.key_id = key.key_id
        self.mac = mac(key.value, self.payload())

    def personal(self) -> bytes:
        """Return the bytes of what can be erased."""
        texts = canonical_texts(
            str(self.user_id), str(self.actor_id), str(self.session_id), str(self.ip_address), str(self.user_agent)
        )
        return texts + canonical(self.details)

    def payload(self) -> bytes:
        """Return the bytes that the MAC covers: everything but the number, which the database gives later."""
        return canonical_texts(
            "v1",
            in_utc(self.occurred_at),
            str(self.event_type),
            str(self.event),
            str(self.severity),
            str(self.message),
            str(self.request_id),
            self.commitment,
            self.key_id,
        )

    def leaf(self) -> bytes:
        """Return the bytes that a seal covers: the number too, so that two rows cannot change places."""
        return b"%d\n%b\n%b" % (self.pk, self.mac.encode(), self.payload())


class AuditSeal(models.Model):
    """One range of the trail: gapless numbers, a Merkle root over its rows, the digest of the seal before it, a MAC.

    Rows `first_row` to `last_row` are those whose ids stand in `runs`, pairs of the first and last id of each stretch
    without a gap. `late` are ids among them that belong before the range: their transaction was slower than the sealer
    allows for. A seal stays when retention deletes its rows.
    """

    number = models.PositiveBigIntegerField(primary_key=True)  # two sealers: the second one's insert fails
    sealed_at = models.DateTimeField(default=timezone.now)
    first_row = models.PositiveBigIntegerField()
    last_row = models.PositiveBigIntegerField()
    after_id = models.BigIntegerField()
    upto_id = models.BigIntegerField(db_index=True)
    runs = models.JSONField()
    late = models.JSONField(default=list)
    newest_at = models.DateTimeField()
    root = models.CharField(max_length=64)
    # The first bytes of each leaf, to say which row differs; a root only says that one does.
    tags = models.TextField(blank=True)
    tags_digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64, blank=True)
    key_id = models.CharField(max_length=64)
    mac = models.CharField(max_length=_MAC_LENGTH)
    purged_at = models.DateTimeField(null=True, blank=True)
    purged_rows = models.PositiveBigIntegerField(null=True, blank=True)
    purge_mark = models.CharField(max_length=128, blank=True)

    class Meta:
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"seal {self.number} (rows {self.first_row} to {self.last_row}, ids to {self.upto_id})"

    def payload(self) -> bytes:
        """Return the bytes that the MAC covers. Of the tags their digest: they go when the rows go."""
        return canonical(
            {
                "v": 1,
                "number": self.number,
                "sealed_at": in_utc(self.sealed_at),
                "rows": [self.first_row, self.last_row],
                "ids": [self.after_id, self.upto_id],
                "runs": self.runs,
                "late": self.late,
                "newest_at": in_utc(self.newest_at),
                "root": self.root,
                "tags": self.tags_digest,
                "previous": self.previous,
                "key_id": self.key_id,
            }
        )

    def digest(self) -> str:
        """Return what the next seal holds of this one, and what an exported seal is known by."""
        return digest(self.payload())

    def purge_payload(self) -> bytes:
        """Return the bytes that the mark of retention covers."""
        moment = in_utc(self.purged_at) if self.purged_at else ""
        return canonical({"v": 1, "seal": self.digest(), "purged_at": moment, "rows": self.purged_rows})
