"""A prepared statement does what the queryset or `save()` that it stands for does."""

from __future__ import annotations

import gc
import threading
import uuid
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext

from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.prepared import Param, PreparedInsert, PreparedSelect, PreparedUpdate, same_in_any_case
from tests.browser import make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def _device(**values: Any) -> TrustedDevice:
    defaults = {"user": make_user(), "secret_digest": "digest", "expires_at": NOW + timedelta(days=1)}
    return TrustedDevice(**{**defaults, **values})


def _event(**values: Any) -> SecurityEvent:
    defaults = {"event": events.SUSPICIOUS.name, "severity": "HIGH", "message": "m", "event_type": "suspicious_request"}
    return SecurityEvent(**{**defaults, **values})


def test_an_insert_writes_what_save_writes() -> None:
    device = _device(ip_address="2001:db8::1", label="It's 100 % \u2028 ünï")
    PreparedInsert(TrustedDevice).insert(device)
    assert not device._state.adding
    assert device._state.db == "default"
    stored = TrustedDevice.objects.get()
    for one in TrustedDevice._meta.concrete_fields:
        assert getattr(stored, one.attname) == getattr(device, one.attname)


@pytest.mark.parametrize("details", [{}, {"a": [1, None, {"b": "ü"}]}, {"'; DROP TABLE": "%s"}])
def test_json_is_stored_as_json(details: dict[str, Any]) -> None:
    insert = PreparedInsert(SecurityEvent)
    insert.insert(_event(details=details))
    stored, saved = SecurityEvent.objects.get(), _event(details=details)
    saved.save()
    assert stored.details == SecurityEvent.objects.get(pk=saved.pk).details == details
    assert SecurityEvent.objects.filter(details=details).count() == 2


def test_a_second_run_is_the_same_statement_with_other_values() -> None:
    insert = PreparedInsert(SecurityEvent)
    with CaptureQueriesContext(connection) as captured:
        for message in ("first", "second"):
            insert.insert(_event(message=message))
    assert len(captured) == 2
    assert set(SecurityEvent.objects.values_list("message", flat=True)) == {"first", "second"}


def test_who_listens_to_saves_is_told() -> None:
    told: list[tuple[str, Any, bool]] = []

    def before(sender: Any, instance: Any, raw: bool, using: str, update_fields: Any, **_: Any) -> None:
        told.append(("pre", instance.message, instance.pk is None))

    def after(sender: Any, instance: Any, created: bool, **_: Any) -> None:
        told.append(("post", instance.message, instance.pk is None))

    insert = PreparedInsert(SecurityEvent)
    pre_save.connect(before, sender=SecurityEvent)
    try:
        insert.insert(_event(message="one"))
        post_save.connect(after, sender=SecurityEvent)
        insert.insert(_event(message="two"))
    finally:
        pre_save.disconnect(before, sender=SecurityEvent)
        post_save.disconnect(after, sender=SecurityEvent)
    assert told == [("pre", "one", True), ("pre", "two", True), ("post", "two", False)]
    assert SecurityEvent.objects.count() == 2


@pytest.mark.parametrize("is_listened_to", [False, True])
def test_a_column_may_be_worked_out_by_the_database(is_listened_to: bool) -> None:
    """Once for each row, from the row's own values; the instance keeps what it was given."""

    def told(**_: Any) -> None:
        return None

    insert = PreparedInsert(SecurityEvent, message=lambda value: Concat(value("event"), Value("!")))
    rows = [_event(event=name, message="as given") for name in ("one", "two")]
    if is_listened_to:
        post_save.connect(told, sender=SecurityEvent)
    try:
        insert.insert(*rows)
    finally:
        post_save.disconnect(told, sender=SecurityEvent)
    assert list(SecurityEvent.objects.order_by("event").values_list("message", flat=True)) == ["one!", "two!"]
    assert {row.message for row in rows} == {"as given"}


def test_a_select_reads_what_the_queryset_reads() -> None:
    devices = [_device(secret_digest=str(number), user=make_user(f"u{number}@example.com")) for number in range(3)]
    for device in devices:
        device.save()
    columns = ("pk", "user_id", "expires_at", "revoked_at", "user__email")

    def of(now: Any, wanted: Any) -> Any:
        living = TrustedDevice.objects.filter(expires_at__gt=now, secret_digest__in=wanted)
        return living.order_by("secret_digest").values_list(*columns)

    digests: Any = [Param("first", TrustedDevice, "secret_digest"), Param("second", TrustedDevice, "secret_digest")]
    select = PreparedSelect(lambda: of(Param("now", TrustedDevice, "expires_at"), digests))
    for wanted in (["0", "2"], ["1", "7"], ["8", "9"]):
        with CaptureQueriesContext(connection) as captured:
            rows = select.rows(now=NOW, first=wanted[0], second=wanted[1])
        assert len(captured) == 1
        assert [tuple(row) for row in rows] == list(of(NOW, wanted))
    assert select.rows(now=NOW + timedelta(days=2), first="0", second="1") == []


def test_an_update_changes_what_it_names_and_says_how_many() -> None:
    device = _device()
    device.save()
    update = PreparedUpdate(
        lambda: TrustedDevice.objects.filter(pk=Param("id", TrustedDevice, "id"), revoked_at=None),
        lambda: {
            "revoked_at": Param("now", TrustedDevice, "revoked_at"),
            "label": F("secret_digest"),
            "ip_address": None,
        },
    )
    assert update.run(id=uuid.uuid4(), now=NOW) == 0
    assert update.run(id=device.pk, now=NOW) == 1
    assert update.run(id=device.pk, now=NOW) == 0
    device.refresh_from_db()
    assert (device.revoked_at, device.label, device.ip_address) == (NOW, "digest", None)


@pytest.mark.django_db(transaction=True)
def test_a_connection_of_a_thread_that_has_ended_is_given_up() -> None:
    """Django under ASGI runs requests in threads of their own, and each has a connection."""
    event = _event()
    event.save()
    select = PreparedSelect(lambda: SecurityEvent.objects.filter(pk=Param("id", SecurityEvent, "id")).values_list())
    seen: list[weakref.ref[Any]] = []

    def work() -> None:
        assert len(select.rows(id=event.pk)) == 1
        seen.append(weakref.ref(connections["default"]))
        connections.close_all()

    for _ in range(5):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    gc.collect()
    assert [kept for kept in seen if kept() is not None] == []


@pytest.mark.parametrize("typed", ["ANA@example.com", "a_a@example.com", "%", "a\\_a@example.com", "ana@example.com\\"])
def test_a_condition_in_any_case_finds_what_the_querysets_does(typed: str) -> None:
    """What would be a wildcard is none, and a backslash is itself."""
    model = get_user_model()
    name = model.get_email_field_name()
    for address in ("ana@example.com", "a_a@example.com"):
        make_user(address)
    select = PreparedSelect(
        lambda: model._default_manager.filter(same_in_any_case("typed", model, name)).values_list(name)
    )
    found = {address for [address] in select.rows(typed=typed)}
    assert found == set(model._default_manager.filter(**{f"{name}__iexact": typed}).values_list(name, flat=True))


def test_several_rows_are_one_statement() -> None:
    insert = PreparedInsert(SecurityEvent)
    for count in (3, 1, 3, 2):
        with CaptureQueriesContext(connection) as captured:
            insert.insert(*(_event(message=f"{count} {number}", details={"n": number}) for number in range(count)))
        assert len(captured) == 1
    assert SecurityEvent.objects.count() == 9
    assert {row.details["n"] for row in SecurityEvent.objects.filter(message__startswith="3 ")} == {0, 1, 2}


def test_a_value_that_was_not_given_is_an_error() -> None:
    select = PreparedSelect(lambda: TrustedDevice.objects.filter(pk=Param("id", TrustedDevice, "id")).values_list("pk"))
    with pytest.raises(KeyError):
        select.rows()
