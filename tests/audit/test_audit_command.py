"""`secure_auth_audit`: verify, seal, export."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_secure_auth.audit.export import COLUMNS, event_lines
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import seal
from tests.audit.trail import RAW, a_seal, remove, settle, write, write_aged

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


def run(*args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("secure_auth_audit", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def fails(*args: str) -> tuple[str, CommandError]:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("secure_auth_audit", *args, stdout=out)
    return out.getvalue(), caught.value


def test_a_whole_trail_is_called_whole() -> None:
    write(3)
    out, _ = run("seal")
    assert out.endswith("3 rows sealed in 1 seals\n")
    assert f"digest {AuditSeal.objects.get().digest()}" in out
    assert run("seal")[0] == "0 rows sealed in 0 seals\n"
    out, err = run("verify")
    assert out.startswith("3 rows read, 0 of them not sealed yet, 0 late, 0 erased; 1 seals, 0 of them")
    assert out.endswith("The trail is whole.\n")
    assert "whether the end was cut off is not known" in out
    assert err == ""
    assert not SecurityEvent.objects.filter(event="audit_tampered").exists()


@pytest.mark.control("ASVS-16.4.2")
def test_what_does_not_fit_is_named_and_recorded_and_the_exit_code_is_1() -> None:
    rows = write(30)
    seal()
    remove(rows[3].pk)
    out, error = fails("verify")
    assert error.returncode == 1
    assert str(error) == "The trail does not fit: 1 findings."
    assert out.startswith(f"missing: row {rows[3].pk}, seal 1 (rows 1 to 30, ids to {rows[-1].pk}): it was sealed and")
    event = SecurityEvent.objects.get(event="audit_tampered")
    assert event.details == {"first": out.splitlines()[0], "findings": {"missing": 1}}
    RAW.filter(pk__in=[row.pk for row in rows]).update(message="x")
    out, error = fails("verify")
    assert "and 10 more\n" in out
    assert str(error) == "The trail does not fit: 30 findings."


def test_exported_seals_show_that_the_end_was_cut_off(tmp_path: Path) -> None:
    rows = write(2)
    seal()
    write(2)
    seal()
    out, err = run("export", "--what", "seals")
    assert err == "2 seals exported\n"
    one, two = out.splitlines()
    kept = tmp_path / "seals.jsonl"
    kept.write_text(one + "\n\n" + json.dumps({"event": "audit_sealed", "details": json.loads(two)}))  # or a log
    out, _ = run("verify", "--seals", str(kept))
    assert out.endswith("The trail is whole.\n")
    assert "cut off" not in out
    a_seal(2).delete()
    remove(*SecurityEvent.objects.filter(pk__gt=rows[-1].pk).values_list("pk", flat=True))
    run("verify")
    out, _ = fails("verify", "--seals", str(kept))
    assert out.startswith("seal: seal 2: it was exported and is gone")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seal": "x", "digest": "y"}', "1", "\n"])
def test_a_file_that_holds_no_seals_is_refused(text: str, tmp_path: Path) -> None:
    """An empty file would otherwise compare with nothing, and the answer be "whole"."""
    kept = tmp_path / "seals.jsonl"
    kept.write_text(text)
    _, error = fails("verify", "--seals", str(kept))
    assert "is no exported seal." in str(error) or "holds no seal." in str(error)
    _, error = fails("verify", "--seals", str(tmp_path / "none"))
    assert "cannot be read" in str(error)


def test_it_says_when_nobody_seals(settings: Any) -> None:
    write_aged(1, timedelta(hours=3))
    assert "does the sealer run?" in run("verify")[1]


@pytest.mark.control("ASVS-1.2.10")
def test_events_are_exported_as_json_lines_and_as_csv() -> None:
    (row,) = write(1, resource="=cmd|' /C calc'!A0")
    SecurityEvent.objects.create(event="x", user_agent="=1+1", details={"a": None})
    out, err = run("export")
    assert err == "3 events exported\n"  # that of the export is one of them
    first, second, third = map(json.loads, out.splitlines())
    assert (first["id"], first["details"], first["mac"]) == (row.pk, row.details, row.mac)
    assert second["user_agent"] == "=1+1"
    assert (third["event"], third["details"]) == ("audit_exported", {"format": "jsonl", "reason": "command"})
    out, err = run("export", "--format", "csv")
    assert err == "4 events exported\n"
    names, *lines = csv.reader(io.StringIO(out, newline=""))
    assert tuple(names) == COLUMNS
    assert dict(zip(names, lines[1], strict=True))["user_agent"] == "'=1+1"
    assert json.loads(dict(zip(names, lines[0], strict=True))["details"]) == row.details


def test_other_formats_are_refused() -> None:
    assert str(fails("export", "--what", "seals", "--format", "csv")[1]) == "Seals are exported as jsonl."
    assert "invalid choice" in str(fails("export", "--format", "xml")[1])
    assert "invalid choice" in str(fails("burn")[1])
    with pytest.raises(ValueError, match="jsonl, csv"):
        event_lines(SecurityEvent.objects.all(), "xml")
