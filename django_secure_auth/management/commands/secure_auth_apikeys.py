"""List, make, rotate and revoke API keys from a shell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from django_secure_auth.apikeys.models import APIKey, APIKeyQuerySet
from django_secure_auth.apikeys.services import create_key, revoke, rotate
from django_secure_auth.conf import secret_ring
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.management.commands.secure_auth_sessions import duration
from django_secure_auth.passwords.services import find_account


class Command(BaseCommand):
    help = (
        "`list` shows living API keys, never their secrets. `create` makes one for an account and `rotate` replaces "
        "one: both print the new key, once and on standard output only, so send it to where it is needed and not to a "
        "log. `revoke` ends one at once. An operator may give any scope, users only those of API_KEY_SCOPES."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("list", "create", "rotate", "revoke"), help="what to do")
        parser.add_argument("--user", metavar="EMAIL", help="whose keys, or for whom (list, create)")
        parser.add_argument("--id", metavar="ID", help="public id of the key: its third part (rotate, revoke)")
        parser.add_argument("--name", help="what the key is called (create)")
        parser.add_argument("--scope", action="append", default=[], help="what it may do, repeatable (create)")
        parser.add_argument(
            "--network", action="append", default=[], metavar="CIDR", help="where it works from, repeatable (create)"
        )
        parser.add_argument("--rate", metavar="RATE", help="its limit, such as 1000/hour (create)")
        parser.add_argument(
            "--expires-in",
            type=duration,
            metavar="DURATION",
            help="how long it lives: 12h, 90d; at most a year (create)",
        )
        parser.add_argument(
            "--overlap", type=duration, metavar="DURATION", help="how long both work; default API_KEY_OVERLAP (rotate)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(**options)
        except SecureAuthError as refusal:
            reasons = refusal.members.get("errors", {}).get("non_field_errors", [str(refusal.detail)])
            raise CommandError(" ".join(reasons)) from None
        except ValueError as refusal:
            raise CommandError(str(refusal)) from None

    def _list(self, **options: Any) -> None:
        chosen = self._living().order_by("-created_at")
        if options["user"]:
            chosen = chosen.for_user(self._account(options["user"]))
        current = secret_ring("api-key").first.key_id
        for key in chosen.iterator():
            used = f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
            marks = [f"retires {key.retires_at:%Y-%m-%d %H:%M} UTC"] if key.retires_at else []
            marks += ["under an old root key"] if key.key_id != current else []
            self.stdout.write(
                "  ".join(
                    (
                        f"{key.public_id}  user {key.user_id}  {key.name!r}  scopes {','.join(key.scopes) or '-'}",
                        f"until {key.expires_at:%Y-%m-%d}  {used}",
                        *marks,
                    )
                )
            )
        self.stdout.write(f"{chosen.count()} living API keys")

    def _create(self, **options: Any) -> None:
        if not options["user"] or not options["name"]:
            raise CommandError("Say for whom and what it is called: --user and --name.")
        lifetime: timedelta | None = options["expires_in"]
        key, text = create_key(
            self._account(options["user"]),
            name=options["name"],
            scopes=options["scope"],
            networks=options["network"],
            rate_limit=options["rate"],
            expires_at=timezone.now() + lifetime if lifetime else None,
            actor="",
        )
        self._show(key, text)

    def _rotate(self, **options: Any) -> None:
        self._show(*rotate(self._key(options["id"]), overlap=options["overlap"], actor=""))

    def _revoke(self, **options: Any) -> None:
        key = self._key(options["id"])
        revoke(key, reason="command", actor="")
        self.stdout.write(f"{key.public_id} revoked")

    def _show(self, key: APIKey, text: str) -> None:
        self.stdout.write(f"# {key.public_id}, until {key.expires_at:%Y-%m-%d %H:%M} UTC; this is shown once:")
        self.stdout.write(text)

    def _living(self) -> APIKeyQuerySet:
        return APIKey.objects.primary().alive()

    def _account(self, email: str) -> Any:
        user = find_account(email)
        if user is None:
            raise CommandError(f"There is no account with the address {email!r}.")
        return user

    def _key(self, public_id: str | None) -> APIKey:
        if not public_id:
            raise CommandError("Say which: --id.")
        key = self._living().filter(public_id=public_id).first()
        if key is None:
            raise CommandError(f"There is no living API key {public_id!r}.")
        return key
