"""One set-up in a process of its own: `python -m benchmarks.worker`. Asked and answered in JSON lines."""

# ruff: noqa: E402  # models can be imported when Django is set up, not earlier

from __future__ import annotations

import cProfile
import gc
import io
import json
import os
import pstats
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from threading import Barrier
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections

from benchmarks import access, growth
from benchmarks.counting import counted
from benchmarks.setups import BY_NAME, PASSWORD, SETUPS, USERS
from benchmarks.ways import WAYS, Answer, Application, Environ, OurWay, Visitor

_CREDENTIALS_LIVE = 120
"""Seconds: access tokens live five minutes, a batch much less."""
_SIGN_IN_USERS = 10


class Worker:
    """Each `do_…` is a question that the parent may ask; what it returns is the answer."""

    def __init__(self) -> None:
        self.setup = BY_NAME[os.environ["BENCH_SETUP"]]
        self.application = Application(get_wsgi_application())
        self.way = WAYS[self.setup.kind](self.application)
        self.fresh_users = iter(range(_SIGN_IN_USERS, USERS // 2))
        self.doomed_users = iter(range(USERS // 2, USERS))
        self.requester: tuple[float, Visitor] | None = None
        self.refresher: Visitor | None = None
        self.devices: dict[str, Visitor] = {}
        self.turn = 0
        self.api_key = ""

    # --- getting ready -------------------------------------------------------------------------------

    def do_migrate(self, users: int = USERS, setups: list[str] | None = None) -> None:
        """Make the tables of every set-up, and users for each. All have one password, and so one hash."""
        call_command("migrate", verbosity=0)
        model = get_user_model()
        password = make_password(PASSWORD)
        for name in setups or [setup.name for setup in SETUPS]:
            emails = [email_of(name, number) for number in range(users)]
            rows = [model(username=email, email=email, password=password) for email in emails]
            model._default_manager.bulk_create(rows, batch_size=1000)

    def do_hello(self) -> dict[str, str]:
        versions = {"Python": ".".join(map(str, sys.version_info[:3])), "Django": django.get_version()}
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SHOW server_version")
                versions["PostgreSQL"] = cursor.fetchone()[0].split()[0]
            else:
                cursor.execute("SELECT sqlite_version()")
                versions["SQLite"] = cursor.fetchone()[0]
        return versions

    def do_fill(self, sessions: int, events: int) -> None:
        growth.fill(sessions=sessions, events=events)

    # --- requests ------------------------------------------------------------------------------------

    def _fresh_visitor(self, number: int | None = None) -> Visitor:
        number = next(self.fresh_users) if number is None else number
        visitor = self.way.visitor(email_of(self.setup.name, number))
        self.way.sign_in(visitor)
        return visitor

    def _requester(self) -> Visitor:
        if self.requester is None or time.monotonic() - self.requester[0] > _CREDENTIALS_LIVE:
            self.requester = (time.monotonic(), self._fresh_visitor())
        return self.requester[1]

    def do_request(self, batch: int) -> float:
        environ = self.way.get(self._requester())
        for _ in range(3):
            self.application.expect(environ, 200)
        return self._median([environ] * batch)

    def do_headers(self) -> dict[str, str]:
        return self.way.elsewhere(self._fresh_visitor()).headers()

    def _median(self, calls: Iterable[Environ]) -> float:
        times = []
        for environ in calls:
            taken, answer = self._timed(environ)
            expect(answer, 200)
            times.append(taken)
        return median(times)

    def _timed(self, environ: Environ) -> tuple[float, Answer]:
        start = time.perf_counter_ns()
        answer = self.application.send(environ)
        return (time.perf_counter_ns() - start) / 1000, answer

    # --- access --------------------------------------------------------------------------------------

    def do_grant(self, objects: int) -> list[str]:
        """Grant all that will be asked for to the one who will ask. Returns the questions that this set-up knows."""
        self.api_key = access.grant(self.setup, email_of(self.setup.name, 0), objects=objects)
        return list(access.views(self.setup))

    def _access(self, question: str) -> Environ:
        """`whoami` is the question without a question."""
        if self.requester is None or time.monotonic() - self.requester[0] > _CREDENTIALS_LIVE:
            self.requester = (time.monotonic(), self._fresh_visitor(0))
        visitor = self.way.program(self.api_key) if question == "key" else self.requester[1]
        return self.way.get(visitor, "/whoami/" if question == "whoami" else f"/may/{question}/")

    def do_access(self, question: str, batch: int) -> float:
        environ = self._access(question)
        for _ in range(3):
            self.application.expect(environ, 200)
        return self._median([environ] * batch)

    def do_count_access(self, question: str) -> dict[str, int]:
        return self._counted(lambda: self.application.expect(self._access(question), 200))

    # --- sign-in -------------------------------------------------------------------------------------

    def _next_device(self) -> Visitor:
        """A browser without a session, ours with a trusted device; ten take turns."""
        self.turn += 1
        email = email_of(self.setup.name, self.turn % _SIGN_IN_USERS)
        if not isinstance(self.way, OurWay):
            return self.way.visitor(email)
        if email not in self.devices:
            visitor = self.way.visitor(email)
            self.way.sign_in(visitor)
            self.devices[email] = visitor
        return self.way.without_session(self.devices[email])

    def do_sign_in(self, batch: int) -> float:
        for _ in range(_SIGN_IN_USERS if self.turn == 0 else 1):
            self.application.expect(self.way.login(self._next_device()), 200)
        return self._median(self.way.login(self._next_device()) for _ in range(batch))

    def do_sign_in_with_code(self, batch: int) -> float:
        """From an unknown browser: the password, the mailed code, and its approval. Ours only."""
        assert isinstance(self.way, OurWay)
        times = []
        for number in range(batch + 1):
            self.turn += 1
            visitor = self.way.visitor(email_of(self.setup.name, self.turn % _SIGN_IN_USERS))
            taken, answer = self._timed(self.way.login(visitor))
            expect(answer, 202)
            self.way.keep(visitor, answer)
            approval, answer = self._timed(self.way.approve(visitor))
            expect(answer, 200)
            mail.outbox.clear()
            if number:  # the first one fills what is filled once
                times.append(taken + approval)
        return median(times)

    # --- refresh -------------------------------------------------------------------------------------

    def _refresher(self) -> Visitor:
        if self.refresher is None:
            self.refresher = self._fresh_visitor()
        return self.refresher

    def do_refresh(self, batch: int) -> float:
        visitor = self._refresher()
        times = []
        for number in range(batch + 1):
            taken, answer = self._timed(self.way.refresh(visitor))
            expect(answer, 200)
            self.way.keep(visitor, answer)
            if number:
                times.append(taken)
        return median(times)

    # --- exact ---------------------------------------------------------------------------------------

    def _steps(self) -> dict[str, Callable[[], Any]]:
        return {
            "request": lambda: self.application.expect(self.way.get(self._requester()), 200),
            "sign_in": lambda: self.application.expect(self.way.login(self._next_device()), 200),
            "refresh": lambda: self.way.keep(
                self._refresher(), self.application.expect(self.way.refresh(self._refresher()), 200)
            ),
        }

    def do_count(self, what: str) -> dict[str, int]:
        return self._counted(self._steps()[what])

    def _counted(self, step: Callable[[], Any]) -> dict[str, int]:
        for _ in range(_SIGN_IN_USERS + 2):
            step()
        if "STATE_MAX_AGE" in self.setup.package:
            # Past the first second after the database was read: what holds there need not hold for the rest.
            time.sleep(1.2)
            for _ in range(3):
                step()
        with counted() as tally:
            step()
        return {"queries": tally.queries, "trips": tally.trips}

    def do_profile(self, what: str, times: int = 300, lines: int = 30) -> str:
        step = self._steps()[what]
        for _ in range(_SIGN_IN_USERS + 2):
            step()
        with counted() as tally:
            step()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            step()
        taken, cpu = time.perf_counter() - start, time.process_time() - cpu
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(times):
            step()
        profile.disable()
        text = io.StringIO()
        text.write(f"{taken / times * 1e6:,.0f} µs each, {cpu / times * 1e6:,.0f} µs of them this process's CPU\n")
        text.write("\n".join(statement[:160] for statement in tally.statements) + "\n")
        pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(lines).sort_stats(
            "cumulative"
        ).print_stats(lines * 3)
        return text.getvalue()

    # --- what takes effect ---------------------------------------------------------------------------

    def do_visit(self) -> dict[str, Any]:
        """Sign a new visitor in and let it be served twice: whoever keeps copies has one now.

        Their users are nobody else's: they will be changed and deleted.
        """
        visitor = self._fresh_visitor(next(self.doomed_users))
        for _ in range(2):
            self.application.expect(self.way.get(visitor), 200)
        return visitor.as_dict()

    def do_get(self, visitor: dict[str, Any]) -> int:
        return self.application.send(self.way.get(Visitor(**visitor))).status

    def do_change(self, what: str, visitor: dict[str, Any]) -> None:
        client = Visitor(**visitor)
        if what == "sign_out":
            logout = self.way.logout(client)
            if logout is not None:
                self.application.expect(logout, 200, 204)
            return
        user: Any = get_user_model()._default_manager.get(username=client.email)
        if what == "password":
            user.set_password("another long enough passphrase")
            user.save()
        elif what == "deactivation":
            user.is_active = False
            user.save()
        else:
            user.delete()

    # --- the race ------------------------------------------------------------------------------------

    def do_race(self, threads: int) -> dict[str, Any]:
        """Show one refresh token from many threads at once; then count what lives, and replay it."""
        visitor = self._fresh_visitor()
        start = Barrier(threads)
        environ = self.way.refresh(visitor)

        def caller(_: int) -> Answer:
            try:
                connection.ensure_connection()
                start.wait()
                return self.application.send(environ)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(caller, range(threads)))
        successors: dict[str, Visitor] = {}
        for answer in answers:
            if answer.status == 200:
                holder = Visitor(visitor.email, dict(visitor.cookies))
                self.way.keep(holder, answer)
                successors[holder.refresh] = holder
        living = [holder for holder in successors.values() if self._goes_on(holder)]
        replay = self.application.send(environ)
        return {
            "answers": sum(answer.status == 200 for answer in answers),
            "failures": sum(answer.status >= 500 for answer in answers),
            "living": len(living),
            "replay_refused": replay.status == 401,
            "replay_ends_all": not any(self._goes_on(holder) for holder in living),
        }

    def _goes_on(self, holder: Visitor) -> bool:
        answer = self.application.send(self.way.refresh(holder))
        if answer.status == 200:
            self.way.keep(holder, answer)
        return answer.status == 200

    # --- growth --------------------------------------------------------------------------------------

    def do_growth_request(self, batch: int) -> float:
        return self._median(self.way.get(visitor) for visitor in growth.visitors(batch))

    def do_growth_refresh(self, batch: int) -> float:
        return self._median(self.way.refresh(visitor) for visitor in growth.visitors(batch))


def email_of(setup: str, number: int) -> str:
    return f"{setup}-{number}@example.com"


def expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise RuntimeError(f"{answer.status} instead of {status}: {answer.body[:300]!r}")


def main() -> None:
    # The answers have this channel to themselves; whatever else prints goes to the log.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] not in {"migrate", "fill"}:
                gc.collect()
            answer = {"ok": getattr(worker, f"do_{question.pop('do')}")(**question)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        out.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
