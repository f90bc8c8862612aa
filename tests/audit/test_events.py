"""The registry of events: one page that says all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import django_secure_auth
from django_secure_auth.audit import events
from django_secure_auth.audit.events import SEVERITY, Event, Kind, registered

PACKAGE = Path(django_secure_auth.__file__).parent
DECLARED = {name: value for name, value in vars(events).items() if isinstance(value, Event)}


@pytest.mark.control("ASVS-16.2.4")
def test_every_event_has_a_name_of_its_own() -> None:
    assert len(registered()) == len(DECLARED)
    assert all(registered()[event.name] is event for event in DECLARED.values())


@pytest.mark.parametrize("event", DECLARED.values(), ids=lambda event: event.name)
def test_an_event_is_well_formed(event: Event) -> None:
    assert event.name == event.name.lower()
    assert event.name.replace("_", "").isalpha()
    assert len(event.name) <= 64
    assert event.kind in Kind
    assert event.severity == SEVERITY[event.kind]
    assert 0 < len(event.message) <= 255
    assert not event.message.endswith(".")


def test_the_kinds_and_severities_are_those_of_the_contract() -> None:
    assert {kind.value: severity for kind, severity in SEVERITY.items()} == {
        "auth_success": "INFO",
        "auth_failure": "MEDIUM",
        "authz_failure": "MEDIUM",
        "rate_limit_exceeded": "MEDIUM",
        "validation_failure": "LOW",
        "suspicious_request": "HIGH",
    }


def test_what_a_client_can_cause_as_often_as_it_likes_is_free() -> None:
    """Refused before anything is counted: neither a limit nor a lock stands in front of it."""
    free = {name for name, event in registered().items() if event.is_free}
    assert free == {
        "malicious_csrf", "malicious_cors", "sensitive_in_clear", "csp_violation", "input_validation_fail",
        "authz_fail", "authz_broken", "authn_api_key_fail",
    }  # fmt: skip


def test_an_event_that_is_declared_is_recorded_somewhere() -> None:
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "events"
    }
    assert used >= set(DECLARED)


# Names of the OWASP Logging Vocabulary (cheatsheetseries.owasp.org) that say what an event of ours says.
OWASP = {
    "authn_login_success", "authn_login_fail", "authn_token_created", "authn_token_revoked", "authn_token_reuse",
    "authz_fail", "authz_change", "authz_admin", "excess_rate_limit_exceeded", "input_validation_fail",
    "malicious_cors", "privilege_permissions_changed", "session_created", "session_renewed", "session_expired",
    "session_use_after_expire", "user_created", "user_updated", "user_deleted", "authn_password_change",
    "authn_password_change_fail",
}  # fmt: skip


def test_what_the_vocabulary_of_owasp_has_a_name_for_has_that_name() -> None:
    """What has none begins like its neighbours there; a new one is a decision, written down here."""
    assert registered().keys() >= OWASP
    ours = registered().keys() - OWASP
    groups = ("authn_", "authz_", "malicious_", "sensitive_", "audit_", "user_")
    assert {name for name in ours if not name.startswith(groups)} == {
        "breach_check_unavailable", "csp_violation", "rate_limit_unavailable", "suspicious_request",
    }  # fmt: skip
