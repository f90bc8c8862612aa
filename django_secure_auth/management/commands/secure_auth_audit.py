"""Check, seal and export the trail."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router

from django_secure_auth.audit import events, seals
from django_secure_auth.audit.export import FORMATS, event_lines, seal_lines
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.audit.verify import Tally, verify

SHOWN = 20


class Command(BaseCommand):
    help = (
        "verify: check every row and seal of the audit trail, name what was changed, is missing, was added or "
        "reordered, and exit with 1 if there is anything. seal: seal the rows that wait for it; run it from cron, or "
        "the Celery task django_secure_auth.tasks.seal. export: write events or seals to standard output."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("verify", "export", "seal"), help="what to do")
        parser.add_argument(
            "--seals",
            metavar="FILE",
            help="verify: exported seals that the trail must fit; only they show that its end was cut off",
        )
        parser.add_argument(
            "--what", choices=("events", "seals"), default="events", help="export: which of the two (default events)"
        )
        parser.add_argument(
            "--format", choices=FORMATS, default="jsonl", help="export: JSON Lines (default) or CSV; seals are jsonl"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _verify(self, options: dict[str, Any]) -> None:
        known = _seals_in(options["seals"]) if options["seals"] else []
        tally = Tally()
        findings = verify(tally, known=known)
        first = list(islice(findings, SHOWN))
        for finding in first:
            self.stdout.write(str(finding))
        more = sum(1 for _ in findings)
        if more:
            self.stdout.write(f"and {more} more")
        self.stdout.write(
            f"{tally.rows} rows read, {tally.unsealed} of them not sealed yet, {tally.late} late, {tally.erased} erased"
            f"; {tally.seals} seals, {tally.purged} of them of rows that retention deleted"
        )
        if not known:
            self.stdout.write("Not compared with exported seals (--seals): whether the end was cut off is not known.")
        if tally.is_overdue:
            self.stderr.write("Rows have waited for a seal more than twice AUDIT_SEAL_INTERVAL: does the sealer run?")
        if first:
            kinds = {kind.value: count for kind, count in tally.kinds.items()}
            record(events.AUDIT_BROKEN, first=str(first[0]), findings=kinds)
            raise CommandError(f"The trail does not fit: {len(first) + more} findings.", returncode=1)
        self.stdout.write("The trail is whole.")

    def _seal(self, options: dict[str, Any]) -> None:
        made = seals.seal()
        for one in made:
            self.stdout.write(f"{one}, digest {one.digest()}")
        rows = sum(one.last_row - one.first_row + 1 for one in made)
        self.stdout.write(f"{rows} rows sealed in {len(made)} seals")

    def _export(self, options: dict[str, Any]) -> None:
        using = router.db_for_write(SecurityEvent)
        if options["what"] == "seals":
            if options["format"] != "jsonl":
                raise CommandError("Seals are exported as jsonl.")
            lines = seal_lines(AuditSeal.objects.using(using))
        else:
            record(events.AUDIT_EXPORTED, format=options["format"], reason="command")
            lines = event_lines(SecurityEvent.objects.using(using), options["format"])
        count = 0
        for line in lines:
            self.stdout.write(line, ending="")
            count += 1
        count -= options["format"] == "csv"  # the line of names
        self.stderr.write(f"{count} {options['what']} exported")


def _seals_in(path: str) -> list[dict[str, Any]]:
    """Read exported seals; also a log of ours, where they stand in the details of a line."""
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}.") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            one = one.get("details", one)
            found.append({"seal": int(one["seal"]), "digest": str(one["digest"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CommandError(f"Line {number} of {path} is no exported seal.") from None
    if not found:
        raise CommandError(f"{path} holds no seal.")
    return found
