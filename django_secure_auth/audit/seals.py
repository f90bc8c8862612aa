"""Seal the trail: one writer of seals at a time, long after the writers of rows, who never wait for it.

Writers insert rows and chain nothing: a chain that is made at insert either serialises all writers or forks under
them. The sealer takes the rows that no slower transaction can join any more, numbers them without a gap, and chains
a Merkle root over them to the last seal (as Google's Trillian does; tree of RFC 6962 §2.1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from django.db import IntegrityError, connections, models, router, transaction
from django.utils import timezone

from django_secure_auth.audit import events
from django_secure_auth.audit.models import ERASED, PERSONAL, AuditSeal, SecurityEvent, in_utc
from django_secure_auth.audit.services import record, tell
from django_secure_auth.conf import secret_ring
from django_secure_auth.kit.seals import canonical, digest, leaf, mac, merkle_root

ROWS_A_SEAL = 10_000
TAG_LENGTH = 8
"""Characters of a leaf's hash that a seal keeps for each row: four bytes, to name a row, not to prove it."""

LONGEST_TRANSACTION = timedelta(minutes=10)
"""Where the database does not say who is still writing: rows younger than this are not sealed yet."""

_TELLS_WHO_WRITES, _WRITES_IN_TURN = "postgresql", "sqlite"  # one writer at a time: numbers appear in their order

_PATIENCE = 10.0  # seconds that the sealer waits for transactions in progress
_LATE_SEALS, _LATE_FOR = 5, timedelta(days=1)  # where rows of a slower transaction are still looked for


def seal() -> list[AuditSeal]:
    """Seal what can be sealed and return the new seals; none when another sealer was first, or nothing is settled."""
    return list(_seal_up_to(_settled_id(_using())))


def _seal_up_to(settled: int) -> Iterator[AuditSeal]:
    while made := _seal_next(settled):
        tell(events.AUDIT_SEALED, **exported(made))
        yield made


def exported(made: AuditSeal) -> dict[str, Any]:
    """Return what of a seal belongs on another machine: enough to prove it and every seal before it."""
    return {
        "seal": made.number,
        "sealed_at": in_utc(made.sealed_at),
        "first_row": made.first_row,
        "last_row": made.last_row,
        "upto_id": made.upto_id,
        "late": len(made.late),
        "root": made.root,
        "digest": made.digest(),
        "key_id": made.key_id,
        "mac": made.mac,
    }


def _using() -> str:
    return router.db_for_write(SecurityEvent)  # a replica that lags would hide rows


def _seal_next(settled: int) -> AuditSeal | None:
    using = _using()
    last = AuditSeal.objects.using(using).first()
    after, count = (last.upto_id, last.last_row) if last else (0, 0)
    stored = SecurityEvent.objects.using(using).order_by("id")
    late = list(stored.filter(id__in=_late_ids(using)[:ROWS_A_SEAL])) if last else []
    # The first range begins below every number: nobody can hide a row there.
    fresh = stored.filter(id__gt=after) if last else stored
    rows = [*late, *fresh.filter(id__lte=settled)[: ROWS_A_SEAL - len(late)]]
    if not rows:
        return None
    leaves = [leaf(row.leaf()) for row in rows]
    tags = "".join(hashed.hex()[:TAG_LENGTH] for hashed in leaves)
    key = secret_ring("audit-seal").first
    made = AuditSeal(
        number=last.number + 1 if last else 1,
        first_row=count + 1,
        last_row=count + len(rows),
        after_id=after,
        upto_id=max(after, rows[-1].pk),
        runs=_runs([row.pk for row in rows]),
        late=[row.pk for row in late],
        newest_at=max(row.occurred_at for row in rows),
        root=merkle_root(leaves).hex(),
        tags=tags,
        tags_digest=digest(tags.encode()),
        previous=last.digest() if last else "",
        key_id=key.key_id,
    )
    made.mac = mac(key.value, made.payload())
    try:
        with transaction.atomic(using=using):
            made.save(force_insert=True, using=using)
    except IntegrityError:  # another sealer has made this number: theirs stands, and the chain has no fork
        return None
    return made


def _runs(ids: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for one in ids:
        if runs and runs[-1][1] == one - 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return runs


def ids_in(made: AuditSeal) -> Iterator[int]:
    """Yield the ids of a seal's rows, in the order of its numbers."""
    return chain.from_iterable(range(first, last + 1) for first, last in made.runs)


def _late_ids(using: str) -> list[int]:
    """Return ids below the last seal that are in none: their transaction was slower than the sealer allows for."""
    recent = AuditSeal.objects.using(using).filter(sealed_at__gt=timezone.now() - _LATE_FOR, purged_at=None)
    seals = list(recent[:_LATE_SEALS])
    if not seals:
        return []
    stored = SecurityEvent.objects.using(using).filter(id__gt=seals[-1].after_id, id__lte=seals[0].upto_id)
    found = set(stored.values_list("id", flat=True))
    return sorted(found.difference(*map(ids_in, seals)))


# --- which rows no transaction can join any more ---------------------------------------------------

# Whoever inserts holds this lock on the table from before it takes a number until its transaction has ended, and
# holds up nobody who inserts as well. Unlike the oldest running transaction of the server, it says nothing of
# transactions that write elsewhere: a report of an hour delays no seal.
_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = %s::regclass AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND pid IS DISTINCT FROM pg_backend_pid()
"""


def _settled_id(using: str) -> int:
    """Return an id at and below which no row can appear any more; 0 when there is none."""
    connection = connections[using]
    stored = SecurityEvent.objects.using(using)
    newest: int = stored.aggregate(newest=models.Max("id"))["newest"] or 0
    if connection.vendor == _TELLS_WHO_WRITES:
        return newest if _writers_have_ended(connection) else 0
    if connection.vendor == _WRITES_IN_TURN:
        return newest
    too_young = stored.filter(occurred_at__gt=timezone.now() - LONGEST_TRANSACTION).order_by("id")
    youngest = too_young.values_list("id", flat=True).first()
    return newest if youngest is None else youngest - 1


def _writers_have_ended(connection: Any) -> bool:
    """Wait until every transaction that was writing to the trail has ended: they may hold numbers below the newest."""
    writers = _writers(connection)
    until = time.monotonic() + _PATIENCE
    while writers := writers & _writers(connection):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _writers(connection: Any) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS, [connection.ops.quote_name(SecurityEvent._meta.db_table)])
        return {name for (name,) in cursor.fetchall()}


# --- what may leave the trail ------------------------------------------------------------------------


def expire(*, before: datetime) -> int:
    """Delete the rows of seals whose newest row is older than `before`, and return how many.

    Whole ranges only, in one transaction for each: the seal stays, marked with our key, and the chain can be checked
    over it. What was never sealed is sealed first. A range with one younger row stays until that is old enough.
    """
    using = _using()
    stored = SecurityEvent.objects.using(using)
    kept = stored.filter(occurred_at__gte=before).order_by("id").values_list("id", flat=True).first()
    settled = _settled_id(using)
    for _ in _seal_up_to(settled if kept is None else min(settled, kept - 1)):
        pass
    due = AuditSeal.objects.using(using).filter(newest_at__lt=before, purged_at=None).order_by("number")
    return sum(_purge(number, using) for number in list(due.values_list("number", flat=True)))


def _purge(number: int, using: str) -> int:
    with transaction.atomic(using=using):
        due = AuditSeal.objects.using(using).select_for_update().filter(number=number, purged_at=None).first()
        if due is None:  # another purge was first
            return 0
        rows = SecurityEvent.objects.using(using)
        due.purged_rows = sum(rows.filter(id__range=run)._raw_delete(using) for run in due.runs)
        due.purged_at, due.tags = timezone.now(), ""
        due.purge_mark = mark(due.purge_payload())
        due.save(using=using, update_fields=["purged_at", "purged_rows", "purge_mark", "tags"])
    return due.purged_rows


def mark(data: bytes) -> str:
    """Return `key id.MAC` of something that only we may do to the trail."""
    key = secret_ring("audit-mark").first
    return f"{key.key_id}.{mac(key.value, data)}"


def erasure(row: SecurityEvent) -> bytes:
    """Return the bytes that the mark of an erased row covers."""
    return canonical({"v": 1, "erased": row.commitment})


_ERASED_AT_ONCE = 500


def erase_person(user_id: Any, *, actor: Any = None) -> int:
    """Erase who, where and what of every row about a user or by them, and return how many rows that were.

    What happened, and when, stays, and so do MACs and seals: they cover a salted commitment to the rest, whose salt
    goes as well, so that nobody can try guesses against it. The rows say that they were erased, with our key.
    Recorded as `audit_person_erased`, which does not say whom.
    """
    using, named = _using(), str(user_id)
    if not named:  # or every event without a user would go
        raise ValueError("a user id is needed")
    theirs = SecurityEvent.objects.using(using).filter(models.Q(user_id=named) | models.Q(actor_id=named))
    count = 0
    while rows := list(theirs[:_ERASED_AT_ONCE]):
        for row in rows:
            blank: dict[str, Any] = dict.fromkeys(PERSONAL, "")
            salt = ERASED + mark(erasure(row))
            # Past the refusal of our own queryset: this is the one change that a row may have.
            models.QuerySet(SecurityEvent, using=using).filter(pk=row.pk).update(details={}, salt=salt, **blank)
        count += len(rows)
    record(events.AUDIT_ERASED, actor=actor, rows=count)
    return count
