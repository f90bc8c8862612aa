"""`manage.py demo` makes what it says, and its tour finds every promise kept."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.test import Client

from django_secure_auth.rbac.services import roles_of
from testproject.management.commands import demo as command
from testproject.notes.models import Note
from testproject.reports.models import Report
from testproject.tour import STEPS, Answer, Journey, NotAsPromised, Step, walk
from tests.testproject.server import PASSWORD, ROOT, Demo, Manage, clean_environment


def people(database: Path) -> dict[str, tuple[bool, bool, bool]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select username, email, is_superuser, is_staff, is_active from auth_user").fetchall()
    return {name: (bool(root), bool(staff), bool(active)) for name, email, root, staff, active in rows if name == email}


def printed_by(demo: Demo) -> str:
    """It answers as soon as it listens, and says so a moment later."""
    deadline = time.monotonic() + 10
    while "Password" not in (printed := demo.log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return printed


def test_it_makes_the_users_and_serves_the_page(demo: Demo) -> None:
    assert people(demo.log.parent / "demo.sqlite3") == {
        "admin@example.com": (True, True, True),
        "editor@example.com": (False, False, True),
        "ana@example.com": (False, False, True),
        "ben@example.com": (False, False, True),
    }
    printed = printed_by(demo)
    assert f"Demo page   {demo.url}/" in printed
    assert f"API         {demo.url}/api/docs/" in printed
    assert f"Password    {PASSWORD}" in printed
    assert "mail goes where EMAIL_URL says" in printed
    with urllib.request.urlopen(f"{demo.url}/", timeout=10) as response:  # noqa: S310  (our own server)
        assert "Sign in" in response.read().decode()


def test_the_password_is_drawn_anew_at_each_start_and_printed(tmp_path: Path) -> None:
    passwords = [line.split()[-1] for _ in range(2) for line in _start(tmp_path) if line.startswith("  Password")]
    assert len(set(passwords)) == 2
    assert all(len(password) >= 16 for password in passwords)


def _start(folder: Path) -> Iterator[str]:
    environment = clean_environment(DEBUG="1", DATABASE_URL=f"sqlite:///{folder / 'demo.sqlite3'}")
    arguments = [sys.executable, "manage.py", "demo", "--port", str(command.free_port())]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line
            if line.startswith("Starting development server"):
                break
        process.kill()


@pytest.mark.django_db
def test_a_user_who_exists_gets_the_new_password_and_no_more_rights() -> None:
    user = get_user_model().objects.create_user("ana@example.com", "ana@example.com", "old", is_staff=True)
    command.make_user("ana@example.com", PASSWORD, is_admin=False)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert not user.is_staff
    assert get_user_model().objects.count() == 1


@pytest.mark.django_db
def test_each_has_two_notes_and_the_editor_the_role_also_when_it_starts_again() -> None:
    for _ in range(2):
        for email in command.PEOPLE:
            command.make_notes(command.make_user(email, PASSWORD, is_admin=False))
        editor = get_user_model().objects.get(email="editor@example.com")
        command.make_editor(editor)
        command.make_reports()
    assert sorted(Note.objects.values_list("owner__email").annotate(count=Count("pk"))) == sorted(
        (email, 2) for email in command.PEOPLE
    )
    assert roles_of(editor) == {"editor"}
    assert editor.has_perm("reports.view_report")
    assert not get_user_model().objects.get(email="ana@example.com").has_perm("reports.view_report")
    assert dict(Report.objects.values_list("name", "count")) == {"Users": 4, "Notes": 8, "Published notes": 0}


def test_it_refuses_in_production(manage: Manage, production: dict[str, str]) -> None:
    done = manage("demo", **production)
    assert done.returncode == 1
    assert "only with DEBUG=1" in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8000x", ""])
def test_a_port_that_is_none_is_refused(port: str, manage: Manage) -> None:
    done = manage("demo", f"--port={port}")
    assert done.returncode == 2
    assert "between 1 and 65535" in done.stderr


def test_the_help_says_what_it_does(manage: Manage) -> None:
    text = " ".join(manage("demo", "--help").stdout.split())
    for word in (
        "admin@",
        "editor@",
        "ana@",
        "ben@example.com",
        "--tour",
        "--password",
        "--port",
        "role editor",
        "two notes",
    ):
        assert word in text


# --- the tour ----------------------------------------------------------------------------------------


def test_the_tour_finds_every_step_as_promised_and_touches_nothing_of_ours(manage: Manage, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sqlite3"
    done = manage("demo", "--tour", DATABASE_URL=f"sqlite:///{mine}", EMAIL_URL="consolemail://")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^ok +\d", done.stdout, re.MULTILINE)) == len(STEPS)
    assert re.fullmatch(rf"All {len(STEPS)} steps are as promised \([0-9.]+ s\)\.", done.stdout.splitlines()[-1])
    assert done.stderr == ""
    assert not mine.exists()


def test_a_password_that_begins_with_a_dash_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.secrets, "token_urlsafe", lambda _: "-" * 16)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "testproject.settings")
    said = StringIO()
    call_command(command.Command(stdout=said), tour=True)
    assert said.getvalue().splitlines()[-1].startswith(f"All {len(STEPS)} steps")


def test_the_tour_covers_the_whole_journey() -> None:
    assert [step.title for step in STEPS] == [
        "fetch a CSRF token", "sign in without it", "wrong password, unknown account", "right password", "wrong code",
        "right code, other browser", "right code", "the same code again", "who am I", "my sessions",
        "read my notes", "publish one", "write without the CSRF token", "end somebody else's session",
        "read somebody else's note", "refresh", "refresh again, second tab", "replay of a stolen token",
        "the thief's access token", "the owner's tokens", "sign in from the trusted device", "sign out",
        "a copy of the cookies afterwards",
        "open an account", "prove its address", "forget the password", "choose another by that link",
        "the same link again", "sign in with the new one", "change the e-mail address", "undo that by the mailed link",
        "reset it, and sign in", "close the account", "sign in again",
    ]  # fmt: skip


def test_the_number_of_steps_is_the_documented_one() -> None:
    assert f"walks {len(STEPS)} steps" in (ROOT / "docs/example.md").read_text()


def _answer(http: int, **body: str) -> Answer:
    return Answer(http, body, [], {}, json.dumps(body))


def test_a_step_that_is_not_as_promised_ends_the_tour_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Journey) -> Answer:
        return _answer(200, status="authenticated").must_be(401, "otp_invalid")

    def breaks(_: Journey) -> Answer:
        raise ConnectionError("refused")

    for walked, reason in (
        (fails, 'wanted 401 otp_invalid, got 200 authenticated: {"status": "authenticated"}'),
        (breaks, "ConnectionError: refused"),
    ):
        lines: list[str] = []
        fine = Step("fine", lambda _: _answer(200), "nothing")
        monkeypatch.setattr("testproject.tour.STEPS", (fine, Step("wrong code", walked, "nothing"), fine))
        assert walk(None, lines.append) is False  # type: ignore[arg-type]  # these steps hand nothing on
        assert lines[0].startswith("ok  1  fine")
        assert lines[1:] == [f"FAILED  2 wrong code: {reason}", "Not as promised: step 2 of 3 (wrong code)."]


def test_an_answer_of_another_code_is_not_as_promised() -> None:
    with pytest.raises(NotAsPromised, match="wanted 401 session_revoked, got 401 token_expired"):
        _answer(401, code="token_expired").must_be(401, "session_revoked")


def test_a_failed_tour_exits_with_one_and_shows_the_server_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "walk", lambda *_: False)
    monkeypatch.setattr(command, "wait_for", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        command.Command().handle(tour=True)
    assert ended.value.code == 1


def test_a_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_MANAGE", ROOT / "not-there.py")
    with pytest.raises(CommandError, match=r"(?s)did not start.*not-there\.py"):
        command.Command().handle(tour=True)


# --- the page, without a browser ---------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.urls("testproject.urls")
def test_the_page_says_where_the_codes_are_and_uses_its_nonce(settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [ROOT / "testproject/templates"]}]
    for debug, console, hint in ((True, True, "console of"), (True, False, "EMAIL_URL"), (False, False, None)):
        settings.DEBUG, settings.CODES_IN_CONSOLE = debug, console
        response = Client().get("/")
        html = response.content.decode()
        match = re.search(r"script-src 'nonce-([^']+)'", response["Content-Security-Policy"])
        assert match is not None
        assert html.count(f'nonce="{match.group(1)}"') == 2 == html.count("nonce=")
        assert ("development server" in html) is debug
        assert hint is None or hint in html
        assert not re.search(r"<[^>]+\son[a-z]+=|<[^>]+\sstyle=|javascript:|innerHTML|insertAdjacentHTML|eval\(", html)
