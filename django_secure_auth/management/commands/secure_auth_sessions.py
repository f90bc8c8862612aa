"""List and end sessions from a shell."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from django_secure_auth.passwords.services import find_account
from django_secure_auth.sessions.models import Session, SessionQuerySet
from django_secure_auth.sessions.services import end_session

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `12h` or `7d`; argparse shows the message."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text, re.ASCII)
    value = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if value is None or value > _LONGEST:
        raise ArgumentTypeError(f"{text!r} is not a duration; write for example 30m, 12h or 7d")
    return value


class Command(BaseCommand):
    help = (
        "List living sessions, or end them at once, everywhere. Without a filter `list` shows all; `end` asks for "
        "one, so that nobody signs everybody out by accident (use --all to mean it)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("list", "end"), help="what to do")
        parser.add_argument("--user", metavar="EMAIL", help="only sessions of the account with this address")
        parser.add_argument("--id", type=UUID, metavar="UUID", help="only this session")
        parser.add_argument(
            "--idle-for", type=duration, metavar="DURATION", help="only sessions not used for so long: 30m, 12h, 7d"
        )
        parser.add_argument("--all", action="store_true", help="end all sessions of all users")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = self._chosen(**options)
        if options["action"] == "list":
            self._list(chosen)
            return
        if not (options["user"] or options["id"] or options["idle_for"] or options["all"]):
            raise CommandError("Say which: --user, --id, --idle-for, or --all.")
        ended = sum(end_session(pk, user_id=user_id, reason="command", actor="") for pk, user_id in self._ids(chosen))
        self.stdout.write(f"{ended} sessions ended")

    def _chosen(self, **options: Any) -> SessionQuerySet:
        chosen = Session.objects.primary().alive().order_by("-last_seen_at")
        if options["user"]:
            user = find_account(options["user"])
            if user is None:
                raise CommandError(f"There is no account with the address {options['user']!r}.")
            chosen = chosen.for_user(user)
        if options["id"]:
            chosen = chosen.filter(pk=options["id"])
        if options["idle_for"]:
            chosen = chosen.filter(last_seen_at__lt=timezone.now() - options["idle_for"])
        return chosen

    def _ids(self, chosen: SessionQuerySet) -> list[tuple[UUID, Any]]:
        return list(chosen.values_list("pk", "user_id"))

    def _list(self, chosen: SessionQuerySet) -> None:
        for session in chosen.select_related("user").iterator():
            self.stdout.write(
                f"{session.pk}  user {session.user_id}  {session.device_label}  {session.ip_address or '-'}  "
                f"last seen {session.last_seen_at:%Y-%m-%d %H:%M} UTC"
            )
        self.stdout.write(f"{chosen.count()} living sessions")
