"""Judge the live settings by the production checklist, and fail where something is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import no_style
from django.db import connections

from django_secure_auth import __version__
from django_secure_auth.doctor.policy import GROUPS
from django_secure_auth.doctor.services import Audit, Finding, audit, catalogue, examine

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def _level(finding: Finding) -> str:
    return next((name for name in ("error", "warning") if finding.level >= LEVELS[name]), "info")


# --- text --------------------------------------------------------------------------------------------


def _as_text(found: Sequence[Finding], asked: Audit, style: Any) -> str:
    paint = {"error": style.ERROR, "warning": style.WARNING, "info": style.NOTICE}
    counted = [one for one in found if not one.waived]
    lines: list[str] = []
    for group, members in groupby(counted, key=lambda one: one.group):
        lines += [style.MIGRATE_HEADING(GROUPS[group])]
        for one in members:
            lines += [f"  {paint[_level(one)](f'{_level(one)} {one.id}')}: {one.message}"]
            lines += [f"    {one.hint}"] if one.hint else []
            lines += [f"    covers {', '.join(one.controls)}"] if one.controls else []
        lines += [""]
    waived = [one for one in found if one.waived]
    if waived:
        lines += [style.MIGRATE_HEADING(f"Does not count ({len(waived)})")]
        lines += [f"  {one.id}: {one.waived}" for one in waived] + [""]
    if asked.status != "not asked":
        lines += [f"Dependency audit: {asked.status}{f' ({asked.why})' if asked.why else ''}."]
    return "\n".join([*lines, _sum(counted) if counted else style.SUCCESS(_sum(counted))])


def _sum(counted: Sequence[Finding]) -> str:
    errors, warnings, infos = (sum(_level(one) == level for one in counted) for level in ("error", "warning", "info"))
    if not counted:
        return "Nothing found."
    return f"{errors} errors, {warnings} warnings, {infos} notes."


def _list_as_text() -> str:
    return "\n".join(
        f"{check_id}  {group}  {', '.join(controls) or '-'}  {text}".rstrip()
        for check_id, group, controls, text in catalogue()
    )


# --- JSON and SARIF ----------------------------------------------------------------------------------


def _as_json(found: Sequence[Finding], asked: Audit) -> str:
    rows = [{**asdict(one), "level": _level(one)} for one in found]
    report = {
        "findings": [row for row in rows if not row["waived"]],
        "waived": [row for row in rows if row["waived"]],
        "dependency_audit": asdict(asked),
    }
    return json.dumps(report, indent=2)


def _list_as_json() -> str:
    names = ("id", "group", "controls", "message")
    return json.dumps([dict(zip(names, row, strict=True)) for row in catalogue()], indent=2)


def _as_sarif(found: Sequence[Finding], asked: Audit) -> str:
    """SARIF 2.1.0 (OASIS): what code hosts show beside the code. A waived finding is a suppressed result."""
    rules = {one.id: _rule(one) for one in found}
    indices = {check_id: index for index, check_id in enumerate(rules)}
    driver = {"name": "secure_auth_doctor", "version": __version__, "rules": list(rules.values())}
    run = {
        "tool": {"driver": driver},
        "results": [_result(one, indices[one.id]) for one in found],
        "properties": {"dependencyAudit": asdict(asked)},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_level(finding: Finding) -> str:
    return {"info": "note"}.get(_level(finding), _level(finding))


def _rule(finding: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": finding.id,
        "shortDescription": {"text": f"{GROUPS[finding.group]}: {finding.id}"},
        "help": {"text": f"{finding.hint} See {finding.page}.".strip()},
        "defaultConfiguration": {"level": _sarif_level(finding)},
        "properties": {"controls": list(finding.controls), "tags": ["security", finding.group]},
    }
    if finding.page.startswith("https://"):
        rule["helpUri"] = finding.page
    return rule


def _result(finding: Finding, rule_index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": rule_index,
        "level": _sarif_level(finding),
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _settings_file()}}}],
        "partialFingerprints": {"secureAuthCheck/v1": finding.id},
    }
    if finding.waived:
        result["suppressions"] = [{"kind": "external", "justification": finding.waived}]
    return result


def _settings_file() -> str:
    """The file of the settings, from the working directory; its module where it lies elsewhere."""
    module = os.environ.get("DJANGO_SETTINGS_MODULE") or settings.ROOT_URLCONF
    file = getattr(sys.modules.get(module), "__file__", None)
    path = Path(file or "").resolve()
    return path.relative_to(Path.cwd()).as_posix() if file and path.is_relative_to(Path.cwd()) else module


# --- the command -------------------------------------------------------------------------------------

_MACHINES: dict[str, Callable[[Sequence[Finding], Audit], str]] = {"json": _as_json, "sarif": _as_sarif}


def _at_or_above(found: Iterable[Finding], level: str) -> list[Finding]:
    return [one for one in found if not one.waived and one.level >= LEVELS[level]]


class Command(BaseCommand):
    help = (
        "Judge the live settings by the production checklist: all that `check --deploy` says, in groups, with the "
        "controls that each finding is about. Nothing is called, no secret is shown, and no table is read without "
        "--database."
    )
    requires_system_checks = []  # it runs them itself, and an error is what it is to report

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=("text", *_MACHINES), default="text", help="default text")
        parser.add_argument(
            "--fail-level",
            choices=tuple(LEVELS),
            default="warning",
            help="exit with 1 when there is a finding of this level or above (default warning)",
        )
        parser.add_argument("--list", action="store_true", help="show every check with its controls, and judge nothing")
        parser.add_argument(
            "--audit",
            action="store_true",
            help="also ask pip-audit, if it is installed, for known vulnerabilities; needs the network",
        )

        parser.add_argument(
            "--database",
            action="append",
            choices=tuple(connections),
            dest="databases",
            help="also look at the tables of this database, as for accounts whose addresses differ in case only",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self.stdout.write(_list_as_json() if options["format"] == "json" else _list_as_text())
            return
        asked, vulnerable = audit() if options["audit"] else (Audit("not asked"), [])
        found = [*examine(options["databases"] or ()), *vulnerable]
        in_colour = options["force_color"] or (self.stdout.isatty() and not options["no_color"])
        style = self.style if in_colour else no_style()
        machine = _MACHINES.get(options["format"])
        self.stdout.write(machine(found, asked) if machine else _as_text(found, asked, style))
        failing = _at_or_above(found, options["fail_level"])
        if failing:
            raise CommandError(f"{len(failing)} findings at or above {options['fail_level']}.")
