"""Many write the trail at once, one seals it, somebody tampers: nobody waits, and everything is found."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.apps.registry import Apps
from django.db import connection, connections, models
from django.utils import timezone

from django_secure_auth.audit import events, seals, services
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import seal
from django_secure_auth.audit.services import record
from django_secure_auth.audit.verify import Tally
from django_secure_auth.prepared import PreparedInsert
from tests.audit.trail import RAW, columns, found, insert, remove, settle, swap

pytestmark = pytest.mark.django_db(transaction=True)


class PlainEvent(models.Model):
    """A row of the trail without what the seals need: the same insert without a MAC."""

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(default=timezone.now, db_index=True)
    event_type = models.CharField(max_length=32, db_index=True)
    event = models.CharField(max_length=64)
    severity = models.CharField(max_length=8)
    message = models.CharField(max_length=255)
    user_id = models.CharField(max_length=64)
    actor_id = models.CharField(max_length=64)
    session_id = models.CharField(max_length=36)
    ip_address = models.CharField(max_length=45)
    user_agent = models.CharField(max_length=256)
    request_id = models.CharField(max_length=64)
    details = models.JSONField()

    class Meta:
        apps = Apps()  # of its own: nobody shall miss a migration for it
        app_label = "host_app"
        managed = False
        indexes = [models.Index(fields=["user_id", "-id"], name="plain_event_user")]


def write(writer: int, count: int) -> None:
    """Record events as a refused sign-in does."""
    for number in range(count):
        record(
            events.LOGIN_FAIL, user=7, session_id=f"{writer}-{number}", ip_address="192.0.2.1", reason="wrong", limit=3
        )


def all_at_once(action: Callable[[int], object], threads: int) -> float:
    """Let `threads` threads do it, and return how many seconds that took."""
    barrier, errors = threading.Barrier(threads + 1), []

    def one(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            action(number)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in running:
        thread.join()
    assert errors == []
    return time.perf_counter() - began


@contextmanager
def sealing() -> Iterator[list[int]]:
    """Seal without a pause, beside the writers."""
    made: list[int] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.01):
            made.extend(one.number for one in seal())
        connections.close_all()

    sealer = threading.Thread(target=run)
    sealer.start()
    try:
        yield made
    finally:
        is_over.set()
        sealer.join()


def assert_all_is_sealed(rows: int) -> None:
    seal()
    tally = Tally()
    assert found(tally=tally) == []
    assert (tally.rows, tally.unsealed) == (rows, 0)
    last = AuditSeal.objects.first()
    assert last is not None
    assert last.last_row == rows  # gapless numbers, whatever order the transactions ended in
    assert tally.seals == last.number


def test_rows_of_parallel_writers_are_sealed_beside_them_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """R37, R53: writers look at no neighbour and wait for nobody; the sealer alone makes the chain, without a fork."""
    settle(monkeypatch)
    with sealing() as made:
        all_at_once(lambda writer: write(writer, 40), 4)
    assert made == list(range(1, len(made) + 1))
    assert_all_is_sealed(160)


def test_sealers_at_the_same_moment_make_one_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """R53: of those who take the same number one gets it."""
    settle(monkeypatch)
    monkeypatch.setattr(seals, "ROWS_A_SEAL", 10)
    write(0, 60)
    all_at_once(lambda _: seal(), 4)
    assert_all_is_sealed(60)
    assert AuditSeal.objects.count() == 6


# --- tampering, in every way, at a place that chance chooses -------------------------------------------


def _change_a_byte(ids: list[int], chance: random.Random) -> tuple[str, int]:
    pk = chance.choice(ids)
    name = chance.choice(["message", "event", "ip_address", "session_id", "mac", "commitment", "salt"])
    value = columns(pk)[name]
    place = chance.randrange(len(value))
    other = chance.choice([letter for letter in "0123456789abcdef" if letter != value[place]])
    RAW.filter(pk=pk).update(**{name: value[:place] + other + value[place + 1 :]})
    return "changed", pk


def _delete(ids: list[int], chance: random.Random) -> tuple[str, int]:
    pk = chance.choice(ids)
    remove(pk)
    return "missing", pk


def _insert(ids: list[int], chance: random.Random) -> tuple[str, int]:
    like = columns(chance.choice(ids))
    # Into the gap that every third id has, behind everything, or below it.
    pk = chance.choice([chance.choice([one for one in ids if one % 3 == 2]) + 1, ids[-1] + 1000, -1])
    insert(**{**like, "id": pk, "commitment": f"{chance.getrandbits(160):043d}"[:43]})
    return ("changed or added" if pk > ids[-1] else "added"), pk


def _swap(ids: list[int], chance: random.Random) -> tuple[str, int]:
    one, other = sorted(chance.sample(ids, 2))
    swap(one, other)
    return "reordered", one


WAYS = (_change_a_byte, _delete, _insert, _swap)


def tamper(trials: int, seed: int) -> int:
    """Tamper in each way so many times, each time with what was found named, and put everything back."""
    chance, hits = random.Random(seed), 0
    ids = list(SecurityEvent.objects.order_by("id").values_list("id", flat=True))
    whole = {row["id"]: row for row in RAW.values()}
    assert found() == []
    for way in WAYS:
        for _ in range(trials):
            kind, pk = way(ids, chance)
            findings = found()
            assert (findings[0].kind.value, findings[0].row) == (kind, pk), (way.__name__, seed)
            assert findings[0].seal is not None or kind == "changed or added"
            assert {finding.row for finding in findings} <= set(ids) | {pk}
            hits += 1
            touched = [row for row in RAW.values() if whole.get(row["id"]) != row]
            absent = whole.keys() - set(RAW.values_list("id", flat=True))
            remove(*(row["id"] for row in touched))
            for back in sorted({row["id"] for row in touched if row["id"] in whole} | absent):
                insert(**whole[back])
    assert found() == []
    return hits


def a_trail(monkeypatch: pytest.MonkeyPatch, rows: int, a_seal: int) -> None:
    settle(monkeypatch)
    monkeypatch.setattr(seals, "ROWS_A_SEAL", a_seal)
    write(0, rows)
    remove(*(pk for pk in SecurityEvent.objects.values_list("id", flat=True) if pk % 3 == 0))
    seal()


@pytest.mark.control("ASVS-16.4.2")
def test_whatever_is_done_to_a_row_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    a_trail(monkeypatch, 45, 10)
    assert tamper(3, random.randrange(2**32)) == 12


@pytest.mark.nightly
@pytest.mark.database("postgresql")
def test_a_hundred_random_tamperings_of_each_kind_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    a_trail(monkeypatch, 1500, 250)
    assert tamper(100, random.randrange(2**32)) == 400


_NO_MAC = "-" * 43


def _fill(row: SecurityEvent) -> None:
    row.salt, row.commitment, row.key_id, row.mac = "-" * 32, _NO_MAC, "-" * 8, _NO_MAC


@contextmanager
def plain_table() -> Iterator[None]:
    with connection.schema_editor() as editor:
        editor.create_model(PlainEvent)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(PlainEvent)


@pytest.mark.nightly
@pytest.mark.database("postgresql")
def test_eight_writers_of_ten_thousand_events_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """R37: at least 0.8 of the throughput of the same insert without a MAC; sealed afterwards."""
    writers, count, rounds = 8, 10_000, 20
    seconds = dict.fromkeys(("narrow", "unsigned", "signed"), 0.0)
    waits = 0
    monkeypatch.setattr(services.logger, "disabled", True)  # the suite's handlers would cost more than the rows

    def one_turn() -> float:
        nonlocal waits
        with watching() as seen:
            took = all_at_once(lambda writer: write(writer, count // rounds), writers)
        waits += sum(seen)
        return took

    with plain_table():
        for _ in range(rounds):  # by turns, so that a busy machine slows all down alike
            with monkeypatch.context() as patch:
                patch.setattr(services, "_insert", PreparedInsert(PlainEvent))
                patch.setattr(services, "SecurityEvent", PlainEvent)
                seconds["narrow"] += one_turn()
            with monkeypatch.context() as patch:
                patch.setattr(SecurityEvent, "sign", _fill)
                seconds["unsigned"] += one_turn()
            seconds["signed"] += one_turn()
            SecurityEvent.objects.filter(mac=_NO_MAC)._raw_delete("default")
    total = writers * count
    rates = {name: total / value for name, value in seconds.items()}
    print("\nrows/s:", ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()), end="; ")
    print(f"{rates['signed'] / rates['unsigned']:.2f} of the same insert without a MAC, ", end="")
    print(f"{rates['signed'] / rates['narrow']:.2f} of one without its columns either; {waits} waits for a lock seen")
    assert waits == 0
    assert rates["signed"] >= 0.8 * rates["narrow"]
    with sealing():
        all_at_once(lambda writer: write(writer, 500), writers)
    began = time.perf_counter()
    assert_all_is_sealed(total + writers * 500)
    print(f"the rest sealed and {total + writers * 500} rows verified in {time.perf_counter() - began:.0f} s")


@contextmanager
def watching() -> Iterator[list[int]]:
    """Look at the server every 100 ms: how many wait for a lock that another transaction holds."""
    seen: list[int] = []
    is_over = threading.Event()

    def run() -> None:
        with connection.cursor() as cursor:
            while not is_over.wait(0.1):
                cursor.execute(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('relation', 'tuple', "
                    "'transactionid', 'advisory') AND database IS NOT DISTINCT FROM "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
                )
                seen.extend(cursor.fetchone())
        connections.close_all()

    watcher = threading.Thread(target=run)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()
