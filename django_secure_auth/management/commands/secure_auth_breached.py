"""Make a filter of breached passwords for `BREACHED_PASSWORDS_FILE`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_secure_auth.passwords import breached


class Command(BaseCommand):
    help = (
        "Make a compact filter of breached passwords. SOURCE has a line `SHA1:count` for each, as Have I Been Pwned "
        "offers them, or a password."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, help="what to do")
        build = actions.add_parser("build", help="write a filter of SOURCE to TARGET")
        build.add_argument("source", type=Path)
        build.add_argument("target", type=Path)
        build.add_argument(
            "--false-positives", type=float, default=breached.FALSE_POSITIVES,
            help="share of other passwords that are refused as well (default: %(default)s)",
        )  # fmt: skip
        build.add_argument("--at-least", type=int, default=1, help="leave out what was seen less often")

    def handle(self, *args: Any, **options: Any) -> None:
        source, target = options["source"], options["target"]
        try:
            count = breached.build(
                source, target, false_positives=options["false_positives"], at_least=options["at_least"]
            )
        except ImportError as error:
            raise CommandError("Install django-secure-auth[breached] first.") from error
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        size = target.stat().st_size
        self.stdout.write(f"{count} passwords in {size} bytes. Set BREACHED_PASSWORDS_FILE to {target}.")
