"""Show every URL with what stands before it, and fail where nothing does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_secure_auth.routes import Route, idle_entries, routes

COLUMNS = ("methods", "path", "name", "who", "authentication", "permission", "throttle", "csrf", "view")


def _cells(route: Route) -> list[str]:
    values = asdict(route)
    cells = {name: values[name] if isinstance(values[name], str) else ", ".join(values[name]) for name in COLUMNS}
    note = route.error or (route.reason if route.is_open else "")
    cells["who"] += f" ({note})" if note else ""
    cells["csrf"] += f"; any site ({route.cross_site})" if route.cross_site else ""
    return [cells[name] or "-" for name in COLUMNS]


def _as_table(found: Sequence[Route]) -> str:
    lines = [list(COLUMNS), *map(_cells, found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _as_markdown(found: Sequence[Route]) -> str:
    lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
    lines += [[cell.replace("|", "\\|").replace("<", "\\<") for cell in _cells(route)] for route in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _as_json(found: Sequence[Route]) -> str:
    return json.dumps([{**asdict(route), "is_undeclared": route.is_undeclared} for route in found], indent=2)


FORMATS = {"table": _as_table, "json": _as_json, "markdown": _as_markdown}


class Command(BaseCommand):
    help = (
        "Show every URL of the project: view, methods, authentication, permission, throttle, CSRF and who may pass. "
        "Nothing is called, and no table is read. What cannot be known counts as open."
    )
    requires_system_checks = []  # they import the URLconf, and a broken one is what this names

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=tuple(FORMATS), default="table", help="default table")
        parser.add_argument(
            "--fail-on-open",
            action="store_true",
            help="exit with 1 when anybody may call a URL that neither OPEN_ROUTES nor its view declares open",
        )
        parser.add_argument("--urlconf", metavar="MODULE", help="another URLconf than ROOT_URLCONF")

    def handle(self, *args: Any, **options: Any) -> None:
        found = routes(options["urlconf"])
        self.stdout.write(FORMATS[options["format"]](found))
        for entry in idle_entries(found):
            self.stderr.write(f"OPEN_ROUTES names {entry!r}, which is no open route: remove or correct it.")
        undeclared = [route for route in found if route.is_undeclared]
        if undeclared and options["fail_on_open"]:
            raise CommandError("\n".join(["Open without a declaration:", *map(str, undeclared)]))
