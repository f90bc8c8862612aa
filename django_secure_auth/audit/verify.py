"""Read the trail against its MACs and seals, in one pass and flat memory, and name what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

from django.db import models, router
from django.utils import timezone

from django_secure_auth.audit.models import ERASED, PERSONAL, AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import TAG_LENGTH, erasure, ids_in
from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.kit.seals import commitment_fits, digest, leaf, mac_fits, merkle_root

_ROWS_AT_ONCE = 2000


class Kind(StrEnum):
    """What is wrong, in one word."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    REORDERED = "reordered"
    FORGED = "changed or added"
    TWICE = "copied"
    SEAL = "seal"
    KEY = "key unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: what, which row (its id), in which range, and one sentence."""

    kind: Kind
    text: str
    row: int | None = None
    seal: int | None = None
    place: str = "not sealed yet"

    def __str__(self) -> str:
        where = self.place if self.row is None else f"row {self.row}, {self.place}"
        return f"{self.kind}: {where}: {self.text}"


@dataclass(slots=True)
class Tally:
    """What a verification has read, for the sentence at its end."""

    rows: int = 0
    seals: int = 0
    unsealed: int = 0
    late: int = 0
    erased: int = 0
    purged: int = 0
    oldest_unsealed: datetime | None = None
    kinds: Counter[Kind] = field(default_factory=Counter)

    @property
    def is_overdue(self) -> bool:
        """Whether rows have waited for a seal for more than twice `AUDIT_SEAL_INTERVAL`: does the sealer run?"""
        waits = self.oldest_unsealed
        return waits is not None and timezone.now() - waits > 2 * conf.AUDIT_SEAL_INTERVAL


def verify(tally: Tally, *, known: Iterable[Mapping[str, Any]] = ()) -> Iterator[Finding]:
    """Yield what does not fit, in the order of the trail, and count what is read in `tally`.

    `known` are seals that were kept elsewhere, as `seals.exported` makes them: without them nobody can tell that the
    newest seals and rows were cut off together, or that somebody with our keys has written everything anew.
    """
    for finding in _Verification(tally, {int(one["seal"]): one for one in known}).run():
        tally.kinds[finding.kind] += 1
        yield finding


class _Verification:
    def __init__(self, tally: Tally, known: dict[int, Mapping[str, Any]]) -> None:
        self.tally, self.known = tally, known
        self.using = router.db_for_write(SecurityEvent)
        self.rows = SecurityEvent.objects.using(self.using).order_by("id")
        self.seals = AuditSeal.objects.using(self.using).order_by("number")
        # Rows that a later seal holds, below the range in which their number lies.
        late = self.seals.filter(purged_at=None).values_list("late", flat=True)
        self.late = set(chain.from_iterable(late.iterator(chunk_size=_ROWS_AT_ONCE)))
        self.unproven: list[Finding] = []

    def run(self) -> Iterator[Finding]:
        last: AuditSeal | None = None
        for seal in self.seals.iterator(chunk_size=20):
            self.tally.seals += 1
            broken = list(self._seal(seal, last))
            yield from broken
            yield from self._range(seal, last, is_broken=bool(broken))
            last = seal
        yield from self.unproven
        for number in sorted(self.known):
            text = "it was exported and is gone: the trail was cut off before it."
            yield Finding(Kind.SEAL, text, seal=number, place=f"seal {number}")
        yield from self._end(last)
        yield from self._copies()

    # --- the chain of seals --------------------------------------------------------------------------

    def _seal(self, seal: AuditSeal, last: AuditSeal | None) -> Iterator[Finding]:
        number = last.number + 1 if last else 1
        if seal.number != number:
            gone = f"seal {number}" if seal.number == number + 1 else f"seals {number} to {seal.number - 1}"
            yield Finding(Kind.SEAL, "missing: the chain of seals has a gap.", seal=number, place=gone)
        elif last and not _follows(seal, last):
            yield _of(seal, Kind.SEAL, f"it does not follow seal {last.number}: one of the two was changed.")
        ours = self.known.pop(seal.number, None)
        if ours and ours.get("digest") != seal.digest():
            yield _of(seal, Kind.SEAL, "it is not the one that was exported: the trail was written anew.")
        key = secret_ring("audit-seal").get(seal.key_id)
        if key is None:
            # Proven all the same by an exported copy, or by a later seal that holds its digest.
            if not ours:
                self.unproven.append(_of(seal, Kind.KEY, _no_key(seal.key_id)))
        elif mac_fits(key, seal.payload(), seal.mac):
            self.unproven.clear()
        else:
            yield _of(seal, Kind.SEAL, "its MAC does not fit: it was changed, or not made with our key.")

    # --- the rows of one seal ------------------------------------------------------------------------

    def _range(self, seal: AuditSeal, last: AuditSeal | None, *, is_broken: bool) -> Iterator[Finding]:
        inside = self.rows.filter(id__lte=seal.upto_id)
        if last:  # the first range has no lower end: nobody can put a row below it
            inside = inside.filter(id__gt=last.upto_id)
        if is_broken or not _is_well_formed(seal):
            # What a seal says that is not ours counts for nothing: each row by itself.
            yield from (found for row in self._read(inside) if (found := self._alone(row, str(seal), seal.number)))
            return
        is_purged = False
        if seal.purged_at is not None:
            self.tally.purged += 1
            is_ours = _is_ours(seal.purge_mark, seal.purge_payload())
            is_purged = is_ours is not False
            if is_ours is None:
                yield _of(seal, Kind.KEY, f"of its deletion: {_no_key(_key_of(seal.purge_mark))}")
            elif not is_ours:
                yield _of(seal, Kind.SEAL, "it says that retention deleted its rows, and our key did not.")
            elif seal.purged_rows != (count := seal.last_row - seal.first_row + 1):
                text = f"of {count} rows only {seal.purged_rows} were left when retention deleted them."
                yield _of(seal, Kind.MISSING, text)
        self.tally.late += len(seal.late)
        stored = chain(self.rows.filter(id__in=seal.late), self._read(inside)) if seal.late else self._read(inside)
        yield from self._compared(seal, stored, is_purged=is_purged)

    def _compared(self, seal: AuditSeal, stored: Iterator[SecurityEvent], *, is_purged: bool) -> Iterator[Finding]:
        has_tags = digest(seal.tags.encode()) == seal.tags_digest
        if not has_tags and not is_purged:
            yield _of(seal, Kind.SEAL, "what it keeps of each row was changed.")
        leaves: list[bytes] = []
        is_whole = not is_purged
        for position, number, row in _side_by_side(iter(()) if is_purged else ids_in(seal), stored):
            found: Verdict
            if row is None:
                found = Kind.MISSING, "it was sealed and is gone."
            elif position is None:
                found = self._stray(row, seal, is_purged=is_purged)
                if found:
                    yield _of(seal, *found, row=number)
                continue
            else:
                self._count(row)
                leaves.append(_leaf(row))
                tag = seal.tags[position * TAG_LENGTH : (position + 1) * TAG_LENGTH]
                found = self._sealed(row, not has_tags or leaves[-1].hex().startswith(tag))
            if found:
                is_whole = False
                yield _of(seal, *found, row=number)
        if is_whole and merkle_root(leaves).hex() != seal.root:
            yield _of(seal, Kind.CHANGED, "its rows do not make up its Merkle root.")

    def _sealed(self, row: SecurityEvent, is_in_place: bool) -> Verdict:
        found = judge(row)
        if found and found[0] is not Kind.KEY:
            return Kind.CHANGED, found[1]
        if not is_in_place:
            return (Kind.CHANGED if found else Kind.REORDERED), "it is not the row that was sealed under this number."
        # Without the key of the row, its seal proves the rest.
        return _judge_personal(row) if found else None

    def _stray(self, row: SecurityEvent, seal: AuditSeal, *, is_purged: bool) -> Verdict:
        if row.pk in self.late:
            return None
        if is_purged:
            return Kind.ADDED, "the rows of this range were deleted by retention; it came afterwards."
        found = judge(row)
        if found and found[0] is not Kind.KEY:
            return Kind.ADDED, "it was not there when the range was sealed, and its MAC does not fit."
        if abs(row.occurred_at - seal.sealed_at) > _LATE_AT_MOST:
            return Kind.ADDED, "it was not there when the range was sealed: an old row, deleted and put back?"
        self.tally.late += 1  # its transaction was slow: the next seal takes it
        return None

    # --- what no seal holds --------------------------------------------------------------------------

    def _end(self, last: AuditSeal | None) -> Iterator[Finding]:
        rows = self.rows.filter(id__gt=last.upto_id) if last else self.rows
        for row in self._read(rows):
            self.tally.unsealed += 1
            self.tally.oldest_unsealed = self.tally.oldest_unsealed or row.occurred_at
            found = self._alone(row, "not sealed yet", None)
            if found:
                yield found

    def _alone(self, row: SecurityEvent, place: str, seal: int | None) -> Finding | None:
        self._count(row)
        found = judge(row)
        return Finding(*found, row=row.pk, seal=seal, place=place) if found else None

    def _count(self, row: SecurityEvent) -> None:
        self.tally.rows += 1
        self.tally.erased += row.salt.startswith(ERASED)

    def _copies(self) -> Iterator[Finding]:
        # The database sorts them; no index forbids it, since every insert would pay for that.
        genuine = self.rows.exclude(commitment="").order_by().values("commitment")
        twice = genuine.annotate(rows=models.Count("id"), newest=models.Max("id"))
        for one in twice.filter(rows__gt=1).order_by("newest"):
            yield Finding(Kind.TWICE, "it is a copy of another row.", one["newest"], place="in the whole trail")

    def _read(self, rows: models.QuerySet[SecurityEvent]) -> Iterator[SecurityEvent]:
        last = None
        try:
            for row in rows.iterator(chunk_size=_ROWS_AT_ONCE):
                last = row.pk
                yield row
        except ValueError:  # a value that cannot be read: which row?
            rest = rows if last is None else rows.filter(id__gt=last)
            for pk in rest.values_list("id", flat=True):
                yield _one(rows, pk)


Verdict = tuple[Kind, str] | None


def judge(row: SecurityEvent) -> Verdict:
    """Return what is wrong with one row by itself, whatever the seals say, as kind and sentence."""
    key = secret_ring("audit").get(row.key_id)
    if key is None and row.key_id:
        return Kind.KEY, _no_key(row.key_id)
    try:
        is_genuine = key is not None and mac_fits(key, row.payload(), row.mac)
    except (ValueError, TypeError, AttributeError):  # a value that no writer of ours has made
        is_genuine = False
    if not is_genuine:
        return Kind.FORGED, "its content does not fit its MAC."
    return _judge_personal(row)


def _judge_personal(row: SecurityEvent) -> Verdict:
    if row.salt.startswith(ERASED):
        is_ours = _is_ours(row.salt.removeprefix(ERASED), erasure(row))
        if is_ours is None:
            return Kind.KEY, _no_key(_key_of(row.salt.removeprefix(ERASED)))
        is_fine = is_ours and not row.details and not any(getattr(row, name) for name in PERSONAL)
    else:
        is_fine = commitment_fits(row.salt, row.personal(), row.commitment)
    return None if is_fine else (Kind.CHANGED, "who, where or what in it does not fit its commitment.")


_LATE_AT_MOST = timedelta(days=1)


def _one(rows: models.QuerySet[SecurityEvent], pk: int) -> SecurityEvent:
    try:
        return rows.get(pk=pk)
    except ValueError:
        return SecurityEvent(pk=pk)  # fits nothing


def _side_by_side(
    expected: Iterator[int], stored: Iterator[SecurityEvent]
) -> Iterator[tuple[int | None, int, SecurityEvent | None]]:
    """Yield (position in the seal, id, row), both lists being in the order of ids; None where one lacks the id."""
    row = next(stored, None)
    for position, number in enumerate(expected):
        while row and row.pk < number:
            yield None, row.pk, row
            row = next(stored, None)
        if row and row.pk == number:
            yield position, number, row
            row = next(stored, None)
        else:
            yield position, number, None
    while row:
        yield None, row.pk, row
        row = next(stored, None)


def _follows(seal: AuditSeal, last: AuditSeal) -> bool:
    return (seal.previous, seal.first_row, seal.after_id) == (last.digest(), last.last_row + 1, last.upto_id)


def _is_well_formed(seal: AuditSeal) -> bool:
    try:
        count: int = sum(last - first + 1 for first, last in seal.runs)
    except (TypeError, ValueError):
        return False
    return count == seal.last_row - seal.first_row + 1


def _leaf(row: SecurityEvent) -> bytes:
    try:
        return leaf(row.leaf())
    except (ValueError, TypeError, AttributeError):
        return b""


def _of(seal: AuditSeal, kind: Kind, text: str, row: int | None = None) -> Finding:
    return Finding(kind, text, row, seal.number, str(seal))


def _is_ours(mark: str, data: bytes) -> bool | None:
    """Whether a mark was made with a key of ours; None when we do not have the key that it names."""
    key_id, tag = _key_of(mark), mark.rpartition(".")[2]
    key = secret_ring("audit-mark").get(key_id)
    return None if key is None else mac_fits(key, data, tag)


def _key_of(mark: str) -> str:
    return mark.rpartition(".")[0]


def _no_key(key_id: str) -> str:
    return f"it was made with key {key_id!r}, which ENCRYPTION_KEYS does not hold any more."
