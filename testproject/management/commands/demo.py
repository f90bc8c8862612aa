"""Everything that is needed to try the package, in one command."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from django_secure_auth.models import Role
from django_secure_auth.rbac.services import grant
from testproject.notes.models import Note
from testproject.reports.models import Report
from testproject.tour import NEIGHBOUR, OWNER, Browser, Journey, walk

HOST = "127.0.0.1"
ADMIN, EDITOR = "admin@example.com", "editor@example.com"
PEOPLE = (ADMIN, EDITOR, OWNER, NEIGHBOUR)
_MANAGE = Path(__file__).resolve().parents[3] / "manage.py"
_START_SECONDS = 60


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ArgumentTypeError("give a port between 1 and 65535")
    return int(text)


class Command(BaseCommand):
    help = (
        "Prepare the database, make the users admin@ (superuser), editor@, ana@ and ben@example.com with one password, "
        "which is printed, and serve the demo page on 127.0.0.1. Users that exist get the new password, which ends "
        "their sessions. Mail with codes and links shows in this console, unless EMAIL_URL says otherwise. With --tour "
        "nothing of yours is touched: the journey is walked over HTTP against a server and a database of its own, each "
        "step with what it proves; the exit code is 1 when one is not as promised. editor@ has the role editor, which "
        "may publish notes and read reports; each has two notes."
    )
    requires_system_checks = []  # migrate and runserver run them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port, default=8000, help="where to serve (default 8000)")
        parser.add_argument("--password", help="of all users; without it one is drawn at random and printed")
        parser.add_argument("--tour", action="store_true", help="walk through the journey, print each step, and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["tour"]:
            self._tour()
        else:
            self._serve(options["port"], options["password"] or secrets.token_urlsafe(12))

    def _serve(self, port: int, password: str) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo makes an administrator whose password it prints: only with DEBUG=1.")
        # Links in mails lead to where the demo is served, whatever BASE_URL says of the site; never to a Host header.
        settings.DJANGO_SECURE_AUTH = {**settings.DJANGO_SECURE_AUTH, "BASE_URL": f"http://{HOST}:{port}"}
        call_command("migrate", verbosity=0)
        for email in PEOPLE:
            make_notes(make_user(email, password, is_admin=email == ADMIN))
        make_editor(get_user_model()._default_manager.get(username=EDITOR))
        make_reports()
        self.stdout.write(
            f"\n  Demo page   http://{HOST}:{port}/\n"
            f"  Admin       http://{HOST}:{port}/admin/\n"
            f"  API         http://{HOST}:{port}/api/docs/\n\n"
            f"  Users       {', '.join(PEOPLE)}\n"
            f"  Password    {password}\n\n" + f"  Codes and links are mailed, and mail {where_mail_is()}.\n"
        )
        self.stdout.flush()
        os.environ.setdefault("DJANGO_RUNSERVER_HIDE_WARNING", "true")
        # No reloader: it would start this command again, with another password.
        call_command("runserver", f"{HOST}:{port}", use_reloader=False)

    def _tour(self) -> None:
        with tempfile.TemporaryDirectory(prefix="secure-auth-tour-") as folder:
            mailbox = Path(folder) / "mail"
            mailbox.mkdir()
            log = Path(folder) / "server.log"
            password, port = secrets.token_urlsafe(12), free_port()
            environment = own_environment(Path(folder), mailbox)
            # With `=`: one in sixty-four passwords begins with a dash.
            command = [sys.executable, str(_MANAGE), "demo", "--port", str(port), f"--password={password}"]
            with log.open("wb") as output:
                server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603  # our own command
            try:
                wait_for(server, port, log)
                self.stdout.write(f"The journey, over HTTP on {HOST}:{port}, with a database of its own:\n\n")
                ana, ben, thief, cleo = (Browser(HOST, port, name) for name in ("Firefox", "Safari", "Chrome", "Edge"))
                if not walk(Journey(ana, ben, thief, cleo, password, mailbox), self._say):
                    self.stderr.write(f"\nThe end of the server's log:\n{log.read_text(errors='replace')[-4000:]}")
                    raise SystemExit(1)
            finally:
                server.terminate()
                server.wait()

    def _say(self, line: str) -> None:
        style = self.style.ERROR if line.startswith(("FAILED", "Not")) else str
        self.stdout.write(style(line))
        self.stdout.flush()


def where_mail_is() -> str:
    return "shows here in the console" if settings.CODES_IN_CONSOLE else "goes where EMAIL_URL says"


def make_user(email: str, password: str, *, is_admin: bool) -> User:
    """Make a user, or give the one of that address the new password."""
    user, _ = get_user_model()._default_manager.get_or_create(username=email, defaults={"email": email})
    user.is_staff = user.is_superuser = is_admin
    user.is_active = True
    user.set_password(password)
    user.save()
    return user


def make_notes(user: User) -> None:
    """Two notes for a user who has none."""
    if not Note.objects.owned_by(user).exists():
        name = user.email.partition("@")[0].title()
        Note.objects.create(owner=user, title=f"{name}'s plans", body="<p>Only <b>I</b> can read this.</p>")
        Note.objects.create(owner=user, title=f"{name}'s shopping list", body="<ul><li>bread</li><li>tea</li></ul>")


def make_editor(user: User) -> None:
    """The role, what it may do, and who holds it."""
    role, _ = Role.objects.get_or_create(name="editor", defaults={"description": "Publishes notes, reads reports"})
    role.permissions.add(Permission.objects.get(content_type__app_label="reports", codename="view_report"))
    grant(user, role)


def make_reports() -> None:
    counts = {
        "Users": get_user_model()._default_manager.count(),
        "Notes": Note.objects.count(),
        "Published notes": Note.objects.filter(is_published=True).count(),
    }
    for name, count in counts.items():
        Report.objects.update_or_create(name=name, defaults={"count": count, "made_at": timezone.now()})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def own_environment(folder: Path, mailbox: Path) -> dict[str, str]:
    """The environment of the tour's server: whatever `.env` names, it gets a database, cache and mail of its own."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "testproject.tour_settings",
        "DEBUG": "1",
        "ALLOWED_HOSTS": HOST,
        "DATABASE_URL": f"sqlite:///{folder / 'tour.sqlite3'}",
        "CACHE_URL": "locmemcache://",
        "STATE_CACHE": "",
        "CELERY_BROKER_URL": "",
        "EMAIL_URL": f"filemail:///{mailbox}",
        "TRUSTED_PROXIES": "0",
        "PYTHONUNBUFFERED": "1",
    }


def wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the server answers. Raises CommandError when it ended, or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CommandError(f"The tour's server did not start:\n{log.read_text(errors='replace')[-4000:]}")
