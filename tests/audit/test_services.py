"""One event is one line and one row, and neither holds a secret."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, TestCase
from django.urls import path
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.audit import events, services
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import SecurityLogger, record, security_logger
from django_secure_auth.exceptions import Forbidden
from django_secure_auth.kit.json_log import JSONFormatter
from django_secure_auth.request_scope import open_scope, run_deferred, scope_of
from django_secure_auth.signals import security_event

HOSTILE = "a\r\nb\x1b[31m\0c\u2028d\u202ee\ud800\"}{'%s%n{x.__class__}"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(JSONFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Any:
    handler, logger = Lines(), logging.getLogger("django_secure_auth.security")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def the_line(lines: list[str]) -> dict[str, Any]:
    (line,) = lines
    assert len(line.splitlines()) == 1
    parsed: dict[str, Any] = json.loads(line)
    return parsed


# --- a line and a row --------------------------------------------------------------------------------


@pytest.mark.control("ASVS-16.2.1")
@pytest.mark.django_db
def test_an_event_says_when_where_who_and_what(lines: list[str], rf: RequestFactory, django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("ana", "ana@example.com", "x")
    admin = django_user_model.objects.create_user("boss", "boss@example.com", "x")
    request = rf.get("/", REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="Firefox/1")
    record(events.SESSION_ENDED, request=request, user=user, actor=admin, session_id="a-session", reason="admin")
    row = SecurityEvent.objects.get()
    line = the_line(lines)
    assert (row.event_type, row.event, row.severity) == ("auth_success", "authn_token_revoked", "INFO")
    assert (line["event_type"], line["event"], line["severity"]) == (row.event_type, row.event, row.severity)
    assert row.message == line["message"] == "A session was ended"
    assert row.request_id == line["request_id"] == scope_of(request).request_id
    assert (row.user_id, row.actor_id, row.session_id) == (str(user.pk), str(admin.pk), "a-session")
    assert (row.ip_address, row.user_agent) == ("192.0.2.7", "Firefox/1")
    assert row.details == {"reason": "admin"}
    assert line["details"] == {
        "user_id": str(user.pk),
        "actor_id": str(admin.pk),
        "sid": "a-session",
        "ip_address": "192.0.2.7",
        "user_agent": "Firefox/1",
        "reason": "admin",
    }


@pytest.mark.django_db
def test_an_event_without_a_request_or_a_user_is_told_all_the_same(lines: list[str]) -> None:
    record(events.OTP_SENT)
    row = SecurityEvent.objects.get()
    assert (row.user_id, row.actor_id, row.session_id, row.ip_address, row.request_id) == ("", "", "", "", "")
    line = the_line(lines)
    assert line["request_id"] is None
    assert line["details"] == {}


@pytest.mark.django_db
def test_the_request_in_progress_is_found(rf: RequestFactory) -> None:
    request = rf.get("/", REMOTE_ADDR="192.0.2.7")
    with open_scope(request) as scope:
        record(events.OTP_SENT, ip_address="198.51.100.1")
        record(events.OTP_SENT)
        run_deferred(scope)
    second, first = SecurityEvent.objects.all()
    assert first.request_id == second.request_id == scope.request_id
    assert (first.ip_address, second.ip_address) == ("198.51.100.1", "192.0.2.7")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("user", "named"), [(None, ""), (AnonymousUser(), ""), (7, "7"), ("a-uuid", "a-uuid"), ("x" * 100, "x" * 64)]
)
def test_users_are_named_by_id(user: Any, named: str) -> None:
    record(events.AUTHZ_FAIL, user=user)
    row = SecurityEvent.objects.get()
    assert (row.user_id, row.actor_id) == (named, named)


@pytest.mark.django_db
def test_a_user_who_is_loaded_late_is_named_by_id(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("ana", "ana@example.com", "x")
    record(events.AUTHZ_FAIL, user=SimpleLazyObject(lambda: user))
    assert SecurityEvent.objects.get().user_id == str(user.pk)


@pytest.mark.control("ASVS-16.2.5")
@pytest.mark.django_db
def test_details_are_redacted_in_the_row_and_in_the_line(lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    secrets: dict[str, Any] = {
        "password": "hunter2",
        "nested": {"api_key": "hunter2", "list": [{"otp_code": "hunter2"}]},
        "headers": [("Authorization", "Bearer hunter2")],
        "note": "see https://ana:hunter2@example.com/?token=hunter2",
        "object": object(),
    }
    record(events.SUSPICIOUS, **secrets)
    row = SecurityEvent.objects.get()
    assert row.details["password"] == "[REDACTED]"
    assert row.details["object"] == "<object>"
    assert "hunter2" not in json.dumps(row.details) + lines[0] + caplog.text


@pytest.mark.control("ASVS-16.4.1")
@pytest.mark.control("ASVS-1.3.10")
@pytest.mark.django_db
def test_hostile_text_is_one_line_and_one_row(lines: list[str], rf: RequestFactory) -> None:
    request = rf.get("/", HTTP_USER_AGENT=HOSTILE.encode("utf-8", "surrogatepass").decode("latin-1"))
    details: dict[str, Any] = {HOSTILE: {HOSTILE: [HOSTILE]}, "description": HOSTILE, "pair": ("note", HOSTILE)}
    record(events.SUSPICIOUS, request=request, user=HOSTILE, session_id=HOSTILE * 2, ip_address=HOSTILE * 2, **details)
    line = the_line(lines)
    assert line["event"] == "suspicious_request"
    row = SecurityEvent.objects.get()
    assert "\0" not in json.dumps(row.details) + row.user_id + row.session_id + row.user_agent


# Any name that a host may give a detail, those of our own parameters too. Only `request` asks for a request.
NAMES = (
    st.sampled_from(["event", "self", "user", "actor", "session_id", "ip_address", "details", "message"])
    | st.text(st.characters(), max_size=20)
).filter(lambda name: name != "request")


@pytest.mark.django_db
@given(st.dictionaries(NAMES, st.text(st.characters(), max_size=50), max_size=3))
def test_any_text_leaves_a_row(details: dict[str, Any]) -> None:
    before = SecurityEvent.objects.count()
    record(events.SUSPICIOUS, **details)
    security_logger.log_suspicious(**details)
    assert SecurityEvent.objects.count() == before + 2


@pytest.mark.django_db
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, b"\xff", {1, 2}, {1: 2}, None, True, 1.5])
def test_any_value_leaves_a_row(value: Any) -> None:
    record(events.SUSPICIOUS, thing=value)
    assert "thing" in SecurityEvent.objects.get().details


@pytest.mark.django_db
def test_a_line_that_nobody_reads_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="django_secure_auth.security"):
        record(events.LOGIN_SUCCESS)
        assert caplog.records == []
        record(events.SUSPICIOUS)
        assert len(caplog.records) == 1
    assert SecurityEvent.objects.count() == 2


@pytest.fixture
def fresh_minute() -> Any:
    services._written.clear()
    yield
    services._written.clear()


@pytest.mark.usefixtures("fresh_minute")
@pytest.mark.django_db
def test_what_costs_the_sender_nothing_cannot_fill_the_table(lines: list[str]) -> None:
    for _ in range(50):
        record(events.CSRF_FAIL, ip_address="192.0.2.7")
    record(events.CSRF_FAIL, ip_address="192.0.2.8")
    record(events.INPUT_FAIL, ip_address="192.0.2.7")
    for _ in range(30):
        record(events.LOGIN_FAIL, ip_address="192.0.2.7")
    assert SecurityEvent.objects.filter(event="malicious_csrf", ip_address="192.0.2.7").count() == 20
    assert SecurityEvent.objects.filter(event="malicious_csrf", ip_address="192.0.2.8").count() == 1
    assert SecurityEvent.objects.filter(event="input_validation_fail").count() == 1
    assert SecurityEvent.objects.filter(event="authn_login_fail").count() == 30
    assert len(lines) == 82  # the lines are all there


@pytest.mark.usefixtures("fresh_minute")
@pytest.mark.django_db
@pytest.mark.parametrize("event", [event for event in events.registered().values() if event.is_free])
def test_one_host_with_many_addresses_cannot_fill_the_table_either(event: events.Event) -> None:
    """R13: a single IPv6 host has 2^64 addresses to send from."""
    for number in range(50):
        record(event, ip_address=f"2001:db8::{number:x}")
    assert SecurityEvent.objects.count() == 20
    record(event, ip_address="2001:db8:0:1::1")
    assert SecurityEvent.objects.count() == 21


# --- it survives and it stops nobody -----------------------------------------------------------------


def refusing(request: HttpRequest) -> HttpResponse:
    record(events.AUTHZ_FAIL, request=request, resource="invoice")
    raise Forbidden


urlpatterns = [path("refusing/", refusing)]


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
def test_a_row_survives_the_rollback_of_a_plain_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    response = Client().get("/refusing/")
    assert response.status_code == 403
    assert SecurityEvent.objects.get().request_id == response.json()["request_id"]


@contextmanager
def the_table_is_away() -> Iterator[None]:
    table = SecurityEvent._meta.db_table

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename(table, f"{table}_away")
    try:
        yield
    finally:
        rename(f"{table}_away", table)


@pytest.mark.control("ASVS-16.3.4")
@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_away_is_logged_and_stops_nobody(lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with the_table_is_away():
        record(events.LOGIN_SUCCESS, user=7)
    assert json.loads(lines[0])["event"] == "authn_login_success"
    assert SecurityEvent._meta.db_table not in "".join(lines)
    assert "A security event could not be stored; its log line stands." in caplog.text
    assert SecurityEvent.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_an_event_that_cannot_be_stored_does_not_take_the_requests_others_with_it(
    rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with open_scope(rf.get("/")) as scope:
        for number in range(120):  # more than one statement holds
            record(events.LOGIN_SUCCESS, user=number)
        next(iter(scope.collected.values()))[7].message = None
        run_deferred(scope)
    assert SecurityEvent.objects.count() == 119
    assert caplog.text.count("could not be stored") == 1


@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_away_does_not_break_the_callers_transaction(django_user_model: Any) -> None:
    """A task, or a shell: no request is in scope, so the row is written inside the caller's transaction."""
    with transaction.atomic():
        with the_table_is_away():
            record(events.LOGIN_SUCCESS, user=7)
        django_user_model.objects.create_user("ana", "ana@example.com", "x")
    assert django_user_model.objects.filter(username="ana").exists()


# --- the host's logger -------------------------------------------------------------------------------

# Public, and called by hosts: method, its own arguments, event.
METHODS = {
    "log_auth_success": ({"user", "ip_address"}, "authn_login_success", "auth_success"),
    "log_auth_failure": ({"user", "reason", "ip_address"}, "authn_login_fail", "auth_failure"),
    "log_authz_failure": ({"user", "resource", "required_roles", "ip_address"}, "authz_fail", "authz_failure"),
    "log_rate_limit": ({"endpoint", "ip_address", "limit"}, "excess_rate_limit_exceeded", "rate_limit_exceeded"),
    "log_validation_failure": ({"endpoint", "errors", "ip_address"}, "input_validation_fail", "validation_failure"),
    "log_suspicious": ({"description", "ip_address"}, "suspicious_request", "suspicious_request"),
}


def test_the_logger_has_these_methods_and_no_others() -> None:
    assert {name for name in vars(SecurityLogger) if name.startswith("log_")} == set(METHODS)


@pytest.mark.django_db
@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_its_own_arguments_and_further_details(name: str, lines: list[str]) -> None:
    own, event, kind = METHODS[name]
    method = getattr(security_logger, name)
    parameters = inspect.signature(method).parameters.values()
    assert {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} == own
    assert [one.kind for one in parameters if one.name == "details"] == [inspect.Parameter.VAR_KEYWORD]
    method()  # all of them are optional
    special = {"required_roles": ("editor", "admin"), "user": 7}
    values = {one: special.get(one, f"the {one}") for one in own}
    method(**values, ip="extra")
    row = SecurityEvent.objects.all()[0]
    assert (row.event, row.event_type) == (event, kind)
    assert row.ip_address == "the ip_address"
    assert row.details["ip"] == "extra"
    for one in own - {"user", "ip_address"}:
        expected = ["editor", "admin"] if one == "required_roles" else values[one]
        assert row.details[one] == expected
    assert row.user_id == ("7" if "user" in own else "")
    assert len(lines) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("name", METHODS)
def test_a_detail_may_be_named_like_a_parameter_of_ours(name: str) -> None:
    getattr(security_logger, name)(event="order placed", self="shop", actor="7", session_id="a-session")
    row = SecurityEvent.objects.get()
    assert (row.event, row.actor_id, row.session_id) == (METHODS[name][1], "7", "a-session")
    assert (row.details["event"], row.details["self"]) == ("order placed", "shop")


@pytest.mark.django_db
def test_the_fields_of_a_refused_input_are_kept() -> None:
    security_logger.log_validation_failure(endpoint="/x/", errors={"amount": ["Too much."], "password": ["hunter2"]})
    assert SecurityEvent.objects.get().details["errors"] == {"amount": ["Too much."], "password": "[REDACTED]"}


# --- shapes and sinks --------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("shape", "begins"), [("json", '{"timestamp"'), ("ecs", '{"@timestamp"'), ("cef", "CEF:0|")])
def test_the_setting_shapes_the_lines(settings: Any, lines: list[str], shape: str, begins: str) -> None:
    settings.DJANGO_SECURE_AUTH = {"AUDIT_FORMAT": shape}
    record(events.SUSPICIOUS, description="x")
    assert lines[0].startswith(begins)


@contextmanager
def heard(*receivers: Any) -> Iterator[None]:
    for receiver in receivers:
        security_event.connect(receiver)
    try:
        yield
    finally:
        for receiver in receivers:
            security_event.disconnect(receiver)


@pytest.mark.django_db
def test_who_listens_is_told_and_one_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[SecurityEvent] = []

    def failing(**_: Any) -> None:
        raise RuntimeError("the pager is away")

    def hearing(event: SecurityEvent, **_: Any) -> None:
        seen.append(event)

    with heard(failing, hearing), TestCase.captureOnCommitCallbacks(execute=True):
        record(events.SUSPICIOUS, description="x")
    assert [one.event for one in seen] == ["suspicious_request"]
    assert SecurityEvent.objects.count() == 1
    assert "the pager is away" in caplog.text


@pytest.mark.django_db
def test_a_receiver_that_records_is_not_told_of_that() -> None:
    seen: list[str] = []

    def recording(event: SecurityEvent, **_: Any) -> None:
        seen.append(event.event)
        record(events.SUSPICIOUS, description="seen")

    with heard(recording), TestCase.captureOnCommitCallbacks(execute=True):
        record(events.LOGIN_FAIL)
        record(events.LOGIN_FAIL)
    assert seen == ["authn_login_fail"] * 2
    assert SecurityEvent.objects.filter(event="suspicious_request").count() == 2


@pytest.mark.django_db
def test_who_is_told_finds_the_row() -> None:
    stored: list[int] = []

    def counting(**_: Any) -> None:
        stored.append(SecurityEvent.objects.count())

    request = RequestFactory().get("/")
    with heard(counting), TestCase.captureOnCommitCallbacks(execute=True), open_scope(request) as scope:
        record(events.SUSPICIOUS, request=request)
        run_deferred(scope)
    assert stored == [1]


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_request_nobody_is_told_of_what_is_rolled_back() -> None:
    seen: list[str] = []

    def hearing(event: SecurityEvent, **_: Any) -> None:
        seen.append(event.event)

    with heard(hearing):
        with transaction.atomic():
            record(events.SUSPICIOUS)
            transaction.set_rollback(True)
        assert not seen
        with transaction.atomic():
            record(events.SUSPICIOUS)
            assert not seen
    assert seen == ["suspicious_request"]


@pytest.mark.django_db
def test_a_detail_does_not_hide_who_it_was(lines: list[str]) -> None:
    record(events.SUSPICIOUS, user=7, session_id="s-1", **{"user_id": "8", "sid": "s-2"})
    assert the_line(lines)["details"] == {"user_id": "7", "actor_id": "7", "sid": "s-1"}
    assert SecurityEvent.objects.get().details == {"user_id": "8", "sid": "s-2"}


@pytest.mark.django_db
def test_the_line_of_a_row_that_cannot_be_stored_has_the_shape_of_the_others(
    settings: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(services._insert, "insert", fail)
    settings.DJANGO_SECURE_AUTH = {"AUDIT_FORMAT": "ecs"}
    record(events.SUSPICIOUS)
    assert [json.loads(line)["ecs"] for line in lines] == [{"version": "8.17.0"}] * 2


def test_what_has_no_row_goes_to_the_log_only_where_that_is_a_sink(settings: Any, lines: list[str]) -> None:
    services.tell(events.AUDIT_SEALED, number=1)
    settings.DJANGO_SECURE_AUTH = {"AUDIT_SINKS": ["table"]}
    services.tell(events.AUDIT_SEALED, number=2)
    assert the_line(lines)["details"] == {"number": 1}


@pytest.mark.django_db
@pytest.mark.parametrize("sinks", [["log"], ["table"], ["signal"]])
def test_a_sink_that_is_not_named_gets_nothing(settings: Any, lines: list[str], sinks: list[str]) -> None:
    settings.DJANGO_SECURE_AUTH = {"AUDIT_SINKS": sinks}
    seen: list[SecurityEvent] = []

    def hearing(event: SecurityEvent, **_: Any) -> None:
        seen.append(event)

    with heard(hearing), TestCase.captureOnCommitCallbacks(execute=True):
        record(events.SUSPICIOUS, description="x")
    told = {"log": len(lines), "table": SecurityEvent.objects.count(), "signal": len(seen)}
    assert told == {name: int(name in sinks) for name in ("log", "table", "signal")}
