"""Delete what is over."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_secure_auth.accounts.tasks import KEEP_DAYS, LONGEST_DAYS, purge


def days(text: str) -> int:
    """Read a number of days; argparse shows the message."""
    if not (re.fullmatch("[1-9][0-9]{0,3}", text, re.ASCII) and int(text) <= LONGEST_DAYS):
        raise ArgumentTypeError(f"{text!r} is not a number of days from 1 to {LONGEST_DAYS}")
    return int(text)


class Command(BaseCommand):
    help = (
        "Delete sessions, code challenges, trusted devices and API keys that ended long ago, and security events past "
        "AUDIT_RETENTION. Run it daily, from cron or as the Celery task django_secure_auth.tasks.purge. Living "
        "sessions are never touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than-days",
            type=days,
            default=KEEP_DAYS,
            metavar="N",
            help=f"keep what ended in the last N days, 1 to {LONGEST_DAYS} (default {KEEP_DAYS}); "
            "security events have a retention of their own",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for kind, count in purge(options["older_than_days"]).items():
            self.stdout.write(f"{count} {kind} deleted")
