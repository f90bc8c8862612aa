"""The example project, deployed for a test: its own database, queue, mail server, web server and workers.

It runs as in production (DEBUG=0, keys of its own, secure cookies, a TLS proxy in front, which the visitor plays):
what holds there is what is promised. Whatever `.env` could say is said here, so that a developer's changes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from celery import Celery
from django.contrib.auth.hashers import Argon2PasswordHasher
from kombu import Connection

from tests import reachable
from tests.real.postoffice import PostOffice
from tests.real.visitor import HOST, Visitor
from tests.real.waiting import free_port, until

TASK = "django_secure_auth.otp.tasks.send_code"
_STOP_SECONDS = 15.0
# What a program needs to start, and coverage to measure it. Nothing else of the caller's environment goes in.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def passed_on() -> dict[str, str]:
    """The environment of a program without anything that its settings read."""
    passed = {name: value for name, value in os.environ.items() if name in _PASSED_ON or "COVERAGE" in name}
    return {**passed, "PYTHONPATH": str(reachable.ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


class Program:
    """A server or worker in a process group of its own, with its output in a file."""

    def __init__(self, name: str, command: list[str], *, env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.command = command
        self.log_file = folder / f"{name}.log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=dict(env), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_says(self, text: str, *, count: int = 1, seconds: float = 30.0) -> None:
        def has_said() -> bool:
            assert self.is_running, f"{self.name} ended by itself:\n{self.log}"
            return self.log.count(text) >= count

        try:
            until(has_said, f"{self.name} to say {text!r}", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def children(self) -> list[int]:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in listed.stdout.split()]

    def stop(self) -> None:
        """End it by SIGTERM, as a service manager does; coverage is written then."""
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group: nobody gets to say good-bye."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(_STOP_SECONDS)


# --- what is shared with others ----------------------------------------------------------------------


def postgres_dsn(database: str) -> str:
    return f"{reachable.url_of('postgres')}/{database}".replace("postgres://", "postgresql://", 1)


def execute_as_owner(statement: str) -> None:
    """Run one statement on the server, outside of any transaction."""
    with psycopg.connect(postgres_dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())


def drop_database(name: str) -> None:
    execute_as_owner(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def own_redis_database() -> Iterator[str]:
    """Yield the address of an empty Redis database that nobody else uses; it is emptied again."""
    server = reachable.url_of("redis")
    mine = secrets.token_hex(8)
    with redis.Redis.from_url(f"{server}/0") as lobby:
        for number in range(9, 0, -1):  # above are those of other tests
            claim = f"secure_auth_tests:database:{number}"
            if not lobby.set(claim, mine, nx=True, ex=1800):
                continue
            url = f"{server}/{number}"
            with redis.Redis.from_url(url) as client:
                if client.dbsize():
                    lobby.delete(claim)
                    continue
                try:
                    yield url
                finally:
                    client.flushdb()
                    lobby.delete(claim)
            return
    raise AssertionError("no Redis database between 1 and 9 is empty and free")


def delete_queue(url: str, queue: str) -> None:
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        channel.queue_delete(queue)
        channel.exchange_delete(queue)


# --- one deployment ----------------------------------------------------------------------------------


@dataclass
class User:
    id: int
    email: str
    password: str


@dataclass
class Deployment:
    folder: Path
    database: str
    post: PostOffice
    broker_url: str
    queue: str
    extra: Mapping[str, str] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)
    web: Program | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self.secret_key = f"real-parts-{secrets.token_urlsafe(48)}"
        self.signing_key = new_key()
        self.encryption_key = new_key()
        parts = urlsplit(reachable.url_of("postgres"))
        self.env: dict[str, str] = {
            **passed_on(),
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "DEBUG": "0",
            "SECRET_KEY": self.secret_key,
            "SECRET_KEY_FALLBACKS": "",
            "SECURE_AUTH_SIGNING_KEYS": f"s1:{self.signing_key}",
            "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{self.encryption_key}",
            "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
            "BASE_URL": f"https://{HOST}",
            "TRUSTED_PROXIES": "1",
            "HTTPS_ONLY": "1",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.post.port}",
            "DEFAULT_FROM_EMAIL": "no-reply@example.com",
            "DATABASE_URL": urlunsplit(parts._replace(path=f"/{self.database}")),
            "CACHE_URL": "locmemcache://",
            "STATE_CACHE": "",
            "CELERY_BROKER_URL": self.broker_url,
            "CELERY_RESULT_BACKEND": "",
            "CELERY_TASK_DEFAULT_QUEUE": self.queue,
            "CELERY_VISIBILITY_TIMEOUT": "60",
            **self.extra,
        }

    # --- programs

    def _start(self, name: str, command: list[str]) -> Program:
        number = sum(program.name.startswith(name) for program in self.programs)
        program = Program(f"{name}-{number}", [sys.executable, "-m", *command], env=self.env, folder=self.folder)
        self.programs.append(program)
        return program

    def start_web(self, *, server: str = "gunicorn", workers: int = 1, threads: int = 8) -> Program:
        """Start the web server; the next visitors go there."""
        self.port = free_port()
        if server == "uvicorn":
            command = ["uvicorn", "testproject.asgi:application", "--port", str(self.port), "--log-level", "debug"]
        else:
            command = [
                "gunicorn", "testproject.wsgi:application", "--bind", f"127.0.0.1:{self.port}", "--log-level", "debug",
                "--workers", str(workers), "--worker-class", "gthread", "--threads", str(threads),
                "--no-control-socket", "--graceful-timeout", "5", "--access-logfile", "-",
                "--access-logformat", 'pid=%(p)s "%(r)s" %(s)s',
            ]  # fmt: skip
        self.web = program = self._start("web", command)

        def answers() -> bool:
            assert program.is_running, f"the web server ended by itself:\n{program.log}"
            try:
                return self.visitor().send("GET", "/api/auth/csrf/").status == 200
            except OSError:
                return False

        try:
            until(answers, "the web server", seconds=30)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{program.log}") from None
        return program

    def start_worker(self, *, pool: str = "solo", level: str = "INFO", wait: bool = True) -> Program:
        # Each has a name of its own: two nodes of one name would share a mailbox for commands.
        name = f"real-{secrets.token_hex(4)}@localhost"
        command = [
            "celery", "--app", "testproject", "worker", "--pool", pool, "--concurrency", "1", "--hostname", name,
            "--loglevel", level, "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        worker = self._start("worker", command)
        if wait:
            worker.wait_until_says(" ready.")
        return worker

    @property
    def workers(self) -> list[Program]:
        return [program for program in self.programs if program.name.startswith("worker") and program.is_running]

    def manage(self, *arguments: str) -> str:
        """Run a management command in this deployment, and return what it prints."""
        command = [sys.executable, "-m", "django", *arguments]
        env = {**self.env, "PYTHONPATH": str(reachable.ROOT)}
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def have_worker(self) -> None:
        """Make sure that one worker runs."""
        if not self.workers:
            self.start_worker(pool="prefork")

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.stop()

    def stop(self) -> None:
        for program in reversed(self.programs):
            program.stop()

    # --- people

    def visitor(self, address: str | None = None) -> Visitor:
        """A new browser, each at an address of its own, so that no limit of one test meets another's."""
        number = secrets.randbelow(2**16)
        return Visitor(self.port, address or f"10.77.{number >> 8}.{number & 255}")

    def make_user(self, name: str = "ana", *, password: str | None = None, is_staff: bool = False) -> User:
        email = f"{name}-{secrets.token_hex(4)}@example.com"
        plain = password or secrets.token_urlsafe(16)
        row = self.one(
            "INSERT INTO auth_user (username, email, password, first_name, last_name, is_active, is_staff,"
            " is_superuser, date_joined) VALUES (%s, %s, %s, '', '', true, %s, %s, now()) RETURNING id",
            email, email, Argon2PasswordHasher().encode(plain, secrets.token_hex(12)), is_staff, is_staff,
        )  # fmt: skip
        return User(int(row[0]), email, plain)

    def sign_in(self, user: User) -> Visitor:
        """The whole way to a session: password, mail, code."""
        visitor = self.visitor()
        sent = len(self.post.of(user.email))
        answer = visitor.login(user.email, user.password)
        assert answer.status == 202, answer
        answer = visitor.approve(self.post.wait_for(user.email, count=sent + 1)[-1].code)
        assert answer.status == 200, answer
        return visitor

    def enter_admin(self) -> tuple[Visitor, User]:
        """Somebody of the staff, signed in to the admin."""
        boss = self.make_user("boss", is_staff=True)
        admin = self.visitor().arrive()
        admin.send("POST", "/admin/login/", form={"username": boss.email, "password": boss.password})
        (letter,) = self.post.wait_for(boss.email)
        assert admin.send("POST", "/admin/login/", form={"otp_code": letter.code}).status == 302
        return admin, boss

    # --- what is behind

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement, straight to the server: no proxy, no ORM."""
        with psycopg.connect(postgres_dsn(self.database), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: Any) -> tuple[Any, ...]:
        rows = self.rows(query, *values)
        assert len(rows) == 1, rows
        return rows[0]

    def count(self, table: str, condition: str = "true", *values: Any) -> int:
        query = f"SELECT count(*) FROM django_secure_auth_{table} WHERE {condition}"  # noqa: S608  (the tests' own)
        return int(self.one(query, *values)[0])

    def open_challenges(self, user: User) -> int:
        return self.count("otpchallenge", "user_id = %s AND used_at IS NULL AND closed_at IS NULL", user.id)

    def sessions(self, user: User, condition: str = "revoked_at IS NULL") -> int:
        return self.count("session", f"user_id = %s AND {condition}", user.id)

    def sent(self, user: User) -> int:
        """How many codes a worker has noted as mailed, once it has noted one: it does so when the mail is gone."""
        until(lambda: self.events(user, "authn_otp_sent"), "the worker to note what it has sent")
        return self.events(user, "authn_otp_sent")

    def events(self, user: User, event: str) -> int:
        return self.count("securityevent", "user_id = %s AND event = %s", str(user.id), event)

    def first_id(self, table: str, user: User | None = None) -> str:
        """The id of the oldest row, or of a user's oldest."""
        condition, values = ("user_id = %s", (user.id,)) if user else ("true", ())
        order = "id" if table == "securityevent" else "created_at"
        query = f"SELECT id FROM django_secure_auth_{table} WHERE {condition} ORDER BY {order}"  # noqa: S608  (as above)
        return str(self.rows(query, *values)[0][0])

    def end_grace(self, user: User) -> None:
        """The rotation is long past: who shows the former refresh token is a thief."""
        self.rows(
            "UPDATE django_secure_auth_session SET rotated_at = now() - interval '1 hour' WHERE user_id = %s", user.id
        )

    def send_task(self, challenge_id: str) -> None:
        """Put a message for `send_code` into the queue, as if it had been delivered once more."""
        app = Celery("real-parts", broker=self.broker_url, set_as_current=False, fixups=[])
        app.conf.task_default_queue = self.queue
        with app.connection_for_write() as connection:
            app.send_task(TASK, args=(challenge_id,), connection=connection, ignore_result=True)

    def messages(self) -> list[tuple[Any, Mapping[str, Any], bytes]]:
        """Headers, properties and body of what waits in RabbitMQ's queue; nothing is taken out."""
        found: list[tuple[Any, Mapping[str, Any], bytes]] = []
        with Connection(self.broker_url) as connection:
            channel: Any = connection.channel()
            while (message := channel.basic_get(self.queue, no_ack=False)) is not None:
                body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
                found.append((message.headers, dict(message.properties), body))
        return found  # closing the channel gives everything back
