"""The shapes of collectors: what each requires is there, one event is one line, and no value forges a field."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.audit.events import registered
from django_secure_auth.kit.json_log import MAX_LINE, JSONFormatter
from django_secure_auth.kit.siem import cef, ecs, ocsf

MEMBERS: dict[str, Any] = {
    "timestamp": "2026-11-27T01:02:03.456Z",
    "event_type": "auth_failure",
    "event": "authn_login_fail",
    "severity": "MEDIUM",
    "message": "Sign-in refused",
    "request_id": "ab12",
    "details": {
        "user_id": "7",
        "actor_id": "8",
        "sid": "s-1",
        "ip_address": "192.0.2.1",
        "user_agent": "Browser/1.0",
        "reason": "wrong_password",
    },
}
NOBODY = {**MEMBERS, "request_id": None, "details": {}}


def of(name: str, kind: str) -> dict[str, Any]:
    return {**MEMBERS, "event": name, "event_type": kind}


def parsed_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """An independent reader of CEF: seven fields of the head, and the extension by its unescaped equal signs."""
    assert line.startswith("CEF:0|")
    assert line.isascii()
    assert line.isprintable()
    *head, extension = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    found = re.findall(r"(\w+)=((?:\\.|[^\\=])*?)(?=(?: \w+=)|$)", extension)
    plain = {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}
    # What is left are the escapes of JSON, but for quotes, which end nothing here.
    return head, {name: json.loads('"' + value.replace('"', r"\"") + '"') for name, value in plain.items()}


def test_ecs_has_the_fields_of_the_schema() -> None:
    found = ecs(MEMBERS)
    assert found["@timestamp"] == "2026-11-27T01:02:03.456Z"
    assert found["ecs"] == {"version": "8.17.0"}
    assert found["event"] == {
        "kind": "event", "category": ["authentication"], "type": ["start"], "action": "authn_login_fail",
        "outcome": "failure", "severity": 73, "module": "django_secure_auth", "dataset": "django_secure_auth.security",
    }  # fmt: skip
    assert (found["user"], found["source"]) == ({"id": "8", "target": {"id": "7"}}, {"ip": "192.0.2.1"})
    assert found["user_agent"] == {"original": "Browser/1.0"}
    assert found["http"] == {"request": {"id": "ab12"}}
    assert found["django_secure_auth"] == {
        "event_type": "auth_failure", "session_id": "s-1", "details": {"reason": "wrong_password"},
    }  # fmt: skip
    assert not {"user", "source", "user_agent", "http"} & ecs(NOBODY).keys()
    assert ecs({**NOBODY, "details": {"user_id": "7", "actor_id": "7"}})["user"] == {"id": "7"}
    assert ecs({**NOBODY, "details": {"user_id": "7"}})["user"] == {"id": "7"}


@pytest.mark.parametrize(
    ("name", "kind", "category", "types"),
    [
        ("authn_login_success", "auth_success", "authentication", ["start"]),
        ("session_created", "auth_success", "session", ["start"]),
        ("audit_sealed", "auth_success", "api", ["info"]),
        ("audit_tampered", "suspicious_request", "intrusion_detection", ["info"]),
        ("session_expired", "auth_success", "session", ["end"]),
        ("authz_change", "auth_success", "iam", ["change"]),
        ("authz_fail", "authz_failure", "api", ["access", "denied"]),
        ("malicious_csrf", "suspicious_request", "intrusion_detection", ["info"]),
        ("", "log", "api", ["info"]),
    ],
)
def test_what_an_event_is_in_ecs(name: str, kind: str, category: str, types: list[str]) -> None:
    event = ecs(of(name, kind))["event"]
    assert (event["category"], event["type"]) == ([category], types)
    assert event["kind"] == ("alert" if kind == "suspicious_request" else "event")


@pytest.mark.parametrize(
    ("name", "kind", "class_uid", "activity", "required"),
    [
        ("authn_login_success", "auth_success", 3002, 1, {"user", "service"}),
        ("authn_token_revoked", "auth_success", 3002, 2, {"user", "service"}),
        ("authn_login_fail", "auth_failure", 3002, 1, {"user", "service"}),
        ("authn_otp_sent", "auth_success", 3002, 99, {"user", "service"}),
        ("audit_sealed", "auth_success", 6003, 99, {"api", "actor", "src_endpoint"}),
        ("audit_tampered", "suspicious_request", 2004, 1, {"finding_info"}),
        ("authz_change", "auth_success", 3001, 99, {"user"}),
        ("authz_fail", "authz_failure", 6003, 99, {"api", "actor", "src_endpoint"}),
        ("authn_token_reuse", "suspicious_request", 2004, 1, {"finding_info"}),
    ],
)
def test_ocsf_has_what_its_class_requires(
    name: str, kind: str, class_uid: int, activity: int, required: set[str]
) -> None:
    found = ocsf(of(name, kind))
    always = {"class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"}
    assert found.keys() >= always | required
    assert (found["class_uid"], found["category_uid"]) == (class_uid, class_uid // 1000)
    assert found["type_uid"] == class_uid * 100 + activity
    names = {(3002, 1): "Logon", (3002, 2): "Logoff", (2004, 1): "Create"}
    assert found["activity_name"] == names.get((class_uid, activity), name)
    assert found["time"] == 1795741323456
    assert found["metadata"]["product"]["name"] == "django_secure_auth"
    assert found["unmapped"] == {"reason": "wrong_password"}


def test_ocsf_of_nobody_names_nobody() -> None:
    found = ocsf(NOBODY)
    assert found["user"] == {"name": "Unknown", "type_id": 0}
    assert not {"actor", "src_endpoint", "unmapped"} & found.keys()
    refused = ocsf({**NOBODY, "event_type": "authz_failure"})
    assert (refused["actor"]["user"]["name"], refused["src_endpoint"]) == ("Unknown", {"name": "Unknown"})


def test_an_ocsf_finding_is_new_and_says_what_it_rests_on() -> None:
    found = ocsf({**MEMBERS, "event_type": "suspicious_request"})
    assert (found["status_id"], found["is_alert"]) == (1, True)
    assert found["evidences"] == [
        {"actor": {"user": {"uid": "8"}, "session": {"uid": "s-1"}}, "src_endpoint": {"ip": "192.0.2.1"}}
    ]
    of_nobody = ocsf({**NOBODY, "event_type": "suspicious_request"})
    assert of_nobody["finding_info"]["uid"] == "authn_login_fail"
    assert "evidences" not in of_nobody


@pytest.mark.parametrize("shape", [ecs, ocsf])
def test_an_address_has_no_zone(shape: Any) -> None:
    found = shape({**NOBODY, "details": {"ip_address": "fe80::1%eth0"}})
    assert (found.get("source") or found["src_endpoint"]) == {"ip": "fe80::1"}


def test_cef_is_read_back() -> None:
    head, fields = parsed_cef(cef(MEMBERS))
    assert head[1:] == ["django_secure_auth", "django_secure_auth", "1", "authn_login_fail", "Sign-in refused", "6"]
    assert fields == {
        "rt": "1795741323456", "cat": "auth_failure", "outcome": "failure", "externalId": "ab12", "suid": "7",
        "src": "192.0.2.1", "requestClientApplication": "Browser/1.0", "cs1Label": "actorId", "cs1": "8",
        "cs2Label": "sessionId", "cs2": "s-1", "cs3Label": "details", "cs3": '{"reason":"wrong_password"}',
    }  # fmt: skip


def test_cef_has_a_field_of_its_own_for_ipv6_and_none_for_what_is_no_address() -> None:
    v6 = parsed_cef(cef({**NOBODY, "details": {"ip_address": "2001:DB8::1"}}))[1]
    assert (v6["c6a2"], v6["c6a2Label"]) == ("2001:db8::1", "Source IPv6 Address")
    assert not {"src", "c6a2"} & parsed_cef(cef({**NOBODY, "details": {"ip_address": "unknown"}}))[1].keys()
    assert parsed_cef(cef({**NOBODY, "event": ""}))[0][4] == "auth_failure"


HOSTILE = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["a\nCEF:0|x", "x suid=0", "a|b\\|c=d\\=e", "\u2028\u202e", '"}{"', "\ud800", "\\", "= = ="]
)


@given(HOSTILE, HOSTILE)
def test_no_value_ends_a_line_or_forges_a_field(agent: str, text: str) -> None:
    members = {**MEMBERS, "message": text, "details": {"user_agent": agent, "user_id": "7", "note": text}}
    for shape in (ecs, ocsf):
        line = json.dumps(shape(members), ensure_ascii=True)
        assert line.isprintable()
        assert json.loads(line).get("message", "") == text
    _, fields = parsed_cef(cef(members))
    assert fields["suid"] == "7"
    assert fields.get("requestClientApplication", "") == agent


@pytest.mark.parametrize("shape", ["json", "ecs", "ocsf", "cef"])
@pytest.mark.parametrize("name", sorted(registered()))
def test_every_event_of_ours_has_every_shape(shape: str, name: str) -> None:
    event = registered()[name]
    record = logging.LogRecord("x", logging.INFO, "", 0, event.message, (), None)
    vars(record).update(
        audit_format=shape, event_type=event.kind.value, event=name, severity=event.severity, request_id="ab",
        details={"user_id": "7", "password": "secret", "note": "é" * 9000},
    )  # fmt: skip
    line = JSONFormatter().format(record)
    assert len(line) <= MAX_LINE
    assert name in line
    assert "secret" not in line
    assert line.startswith("CEF:0|") is (shape == "cef")
