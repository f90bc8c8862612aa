"""The doctor's report, and the command that prints it: grouped, with controls, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_secure_auth.doctor import services
from django_secure_auth.doctor.policy import GROUPS
from django_secure_auth.doctor.services import Audit, audit, catalogue, examine, known
from tests.doctor.host import ENVIRONMENT, production
from tests.testproject.server import ROOT, clean_environment

EXPLAINED = {"secure_auth.I051", "secure_auth.I052"}
BROKEN = {"DEBUG_PROPAGATE_EXCEPTIONS": True, "SESSION_SERIALIZER": "shop.PickleSerializer", "ALLOWED_HOSTS": []}


def doctor(changes: Mapping[str, Any], *arguments: str) -> tuple[str, str]:
    """What the command prints, and with what it fails."""
    out = StringIO()
    with production(changes):
        try:
            call_command("secure_auth_doctor", *arguments, stdout=out)
        except CommandError as refusal:
            return out.getvalue(), str(refusal)
    return out.getvalue(), ""


# --- the report --------------------------------------------------------------------------------------


def test_the_doctor_and_check_deploy_say_the_same() -> None:
    with production(BROKEN):
        found = [(one.id, one.level) for one in examine() if not one.waived]
    assert sorted(found) == [("secure_auth.E101", 40), ("secure_auth.W119", 30), ("security.W020", 30)]


def test_what_is_silenced_is_shown_as_silenced() -> None:
    with production({"SILENCED_SYSTEM_CHECKS": ["secure_auth.W119", "security.W008"], **BROKEN}):
        waived = {one.id: one.waived for one in examine() if one.waived and one.id not in EXPLAINED}
    assert waived == {
        "secure_auth.W119": "silenced by SILENCED_SYSTEM_CHECKS",
        "security.W004": "SecurityHeadersMiddleware sends Strict-Transport-Security",
        "security.W008": "silenced by SILENCED_SYSTEM_CHECKS",
    }


def test_what_one_of_our_settings_does_is_not_asked_for_twice() -> None:
    with production({"SILENCED_SYSTEM_CHECKS": []}):
        assert {one.id for one in examine() if one.waived} == {"security.W004", "security.W008", *EXPLAINED}
    with production({"SILENCED_SYSTEM_CHECKS": [], "DJANGO_SECURE_AUTH.HTTPS_ONLY": False}):
        assert "security.W008" in {one.id for one in examine() if not one.waived}


@pytest.mark.parametrize(
    ("check_id", "group", "controls"),
    [
        ("secure_auth.E101", "cookies", ("ASVS-1.5.2",)),
        ("secure_auth.E003", "cookies", ("ASVS-3.3.1",)),
        ("secure_auth.E001", "installation", ()),
        ("secure_auth.W079", "headers", ()),
        ("secure_auth.W085", "dependencies", ("ASVS-15.2.1",)),
        ("secure_auth.W088", "logs", ()),
        ("secure_auth.W097", "throttling", ()),
        ("secure_auth.W900", "other", ()),
        ("security.W018", "debug", ("DJ-security.W018",)),
        ("security.W012", "cookies", ("DJ-security.W010",)),
        ("models.W042", "other", ()),
    ],
)
def test_every_id_has_a_group_and_its_controls(check_id: str, group: str, controls: tuple[str, ...]) -> None:
    assert known(check_id) == (group, controls)


# --- text --------------------------------------------------------------------------------------------


def test_production_as_it_should_be_passes() -> None:
    text, refusal = doctor({})
    assert refusal == ""
    assert text.endswith("Nothing found.\n")


def test_what_nobody_waives_is_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_EXPLAINED", frozenset())
    hsts = {"SECURE_HSTS_SECONDS": 31536000, "SECURE_HSTS_INCLUDE_SUBDOMAINS": True, "SECURE_HSTS_PRELOAD": True}
    assert "Does not count" not in doctor({**hsts, "SECURE_SSL_REDIRECT": True})[0]


def test_what_a_view_allows_more_than_others_is_shown_with_its_reason_and_does_not_count() -> None:
    text, refusal = doctor({}, "--fail-level=info")
    assert "  secure_auth.I051: /api/docs/ loosens trusted-types: Swagger UI writes HTML" in text
    assert refusal == ""


def test_findings_are_grouped_with_hint_and_controls() -> None:
    text, refusal = doctor(BROKEN)
    assert refusal == "3 findings at or above warning."
    assert [line for line in text.splitlines() if line in GROUPS.values()] == [
        "Debugging", "Cookies and sessions", "Hosts",
    ]  # fmt: skip
    assert "  error secure_auth.E101: SESSION_SERIALIZER unpickles" in text
    assert "    covers ASVS-1.5.2\n" in text
    assert "Does not count (5)\n" in text
    assert text.endswith("1 errors, 2 warnings, 0 notes.\n")
    assert "\x1b" not in text


def test_colour_is_for_terminals_or_who_asks_for_it() -> None:
    assert "\x1b[" in doctor(BROKEN, "--force-color")[0]


@pytest.mark.parametrize(
    ("level", "changes", "fails"),
    [
        ("error", {"DEBUG_PROPAGATE_EXCEPTIONS": True}, False),
        ("warning", {"DEBUG_PROPAGATE_EXCEPTIONS": True}, True),
        ("info", {"DEBUG_PROPAGATE_EXCEPTIONS": True}, True),
        ("error", BROKEN, True),
        ("info", {}, False),
    ],
)
def test_the_level_says_what_fails(level: str, changes: Mapping[str, Any], fails: bool) -> None:
    assert bool(doctor(changes, f"--fail-level={level}")[1]) is fails


# --- for machines ------------------------------------------------------------------------------------


def test_json_holds_findings_what_does_not_count_and_the_audit() -> None:
    report = json.loads(doctor(BROKEN, "--format=json")[0])
    assert report["dependency_audit"] == {"status": "not asked", "why": ""}
    assert {row["id"] for row in report["waived"]} == {*EXPLAINED, "security.W004", "security.W008"}
    (pickled,) = (row for row in report["findings"] if row["id"] == "secure_auth.E101")
    assert pickled["level"] == "error"
    assert pickled["group"] == "cookies"
    assert pickled["controls"] == ["ASVS-1.5.2"]
    assert pickled["page"] == "docs/checks.md"
    assert pickled["hint"]


def test_sarif_has_what_the_standard_requires() -> None:
    """SARIF 2.1.0 §3.13, §3.14, §3.19, §3.27: version and runs; tool.driver.name; message; rule ids that exist."""
    log = json.loads(doctor(BROKEN, "--format=sarif")[0])
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "secure_auth_doctor"
    for rule in driver["rules"]:
        assert rule["help"]["text"]
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
        assert isinstance(rule["properties"]["controls"], list)
        assert rule.get("helpUri", "https://").startswith("https://")
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in {"none", "note", "warning", "error"}
        (location,) = result["locations"]
        assert not location["physicalLocation"]["artifactLocation"]["uri"].startswith("/")
    suppressed = {one["ruleId"] for one in run["results"] if "suppressions" in one}
    assert suppressed == {*EXPLAINED, "security.W004", "security.W008"}


def test_a_settings_module_of_another_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    log = json.loads(doctor({}, "--format=sarif")[0])
    uris = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in log["runs"][0]["results"]}
    assert uris == {"shop.settings"}


def test_the_list_shows_every_check_with_its_controls() -> None:
    text, refusal = doctor(BROKEN, "--list")
    assert refusal == ""
    assert "secure_auth.E101  cookies  ASVS-1.5.2  SESSION_SERIALIZER unpickles" in text
    assert len(text.splitlines()) == len(catalogue())
    rows = json.loads(doctor({}, "--list", "--format=json")[0])
    assert {row["id"] for row in rows} == {row[0] for row in catalogue()}


# --- the dependency audit ----------------------------------------------------------------------------


def answering(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "pip_audit"]
        assert options["timeout"] == 120
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 1, answer, "https://user:secret@index.example.com is away")

    monkeypatch.setattr(services, "find_spec", lambda name: object())
    monkeypatch.setattr(services.subprocess, "run", run)


VULNERABLE = {"name": "leaky", "version": "1.0", "vulns": [{"id": "PYSEC-2"}, {"id": "PYSEC-1"}]}
FINE = {"name": "fine", "version": "2.0", "vulns": []}


def test_known_vulnerabilities_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, json.dumps({"dependencies": [FINE, VULNERABLE]}))
    text, refusal = doctor({}, "--audit")
    assert (
        "warning secure_auth.W150: Installed packages have known vulnerabilities: leaky 1.0 (PYSEC-1, PYSEC-2)." in text
    )
    assert "Dependency audit: vulnerable.\n" in text
    assert refusal == "1 findings at or above warning."


def test_an_audit_without_findings_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, json.dumps({"dependencies": [FINE, {"name": "own", "skip_reason": "not on the index"}]}))
    assert audit() == (Audit("clean", "not judged: own"), [])
    answering(monkeypatch, json.dumps({"dependencies": [FINE]}))
    assert audit() == (Audit("clean"), [])


NO_ANSWERS = ["", "not JSON", "[]", "{}", '{"dependencies": null}', subprocess.TimeoutExpired("pip_audit", 120)]


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=str)
def test_an_audit_that_cannot_be_made_is_not_judged_and_never_clean(
    answer: str | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, answer)
    text, refusal = doctor({}, "--audit")
    assert "Dependency audit: not judged (" in text
    assert "secret" not in text
    assert refusal == ""


def test_without_pip_audit_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    assert audit() == (Audit("not judged", "pip-audit is not installed"), [])


# --- the whole of it ---------------------------------------------------------------------------------


def test_testproject_in_production_has_no_finding() -> None:
    """In a process of its own, with its apps loaded and its database named: no table is asked."""
    done = subprocess.run(
        [sys.executable, "manage.py", "secure_auth_doctor", "--fail-level", "info"],
        cwd=ROOT, env=clean_environment(**ENVIRONMENT), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Nothing found.\n")


@pytest.mark.parametrize(
    "ours", [["HTTPS_ONLY"], {"HTTPS_ONLY": "yes"}, {"OTP_LENGTH": "six"}, {"HTTPS_OLNY": True}], ids=str
)
def test_settings_of_ours_that_cannot_be_read_are_a_finding_not_a_traceback(ours: Any) -> None:
    text, refusal = doctor({"DJANGO_SECURE_AUTH": ours, "SILENCED_SYSTEM_CHECKS": []})
    assert "error secure_auth.E00" in text
    assert refusal
