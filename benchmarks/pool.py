"""The parent's side of the workers: databases to work in, processes to ask, and no trace of them afterwards."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
import redis

from benchmarks.setups import EVERYTHING, Setup
from tests.reachable import url_of, why_not

ROOT = Path(__file__).resolve().parent.parent
_REDIS_DATABASE = 9


class WorkerFailed(RuntimeError):
    """A worker answered with a traceback, or ended."""


class Worker(AbstractContextManager["Worker"]):
    """A set-up in a process of its own. One question at a time."""

    def __init__(self, setup: Setup, env: dict[str, str], log: Path) -> None:
        self.setup = setup
        self.log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                cwd=ROOT,
                env={**env, "BENCH_SETUP": setup.name},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def tell(self, do: str, **details: Any) -> None:
        """Ask without waiting; `hear` gives the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._last_words()) from None

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerFailed(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.setup.name}: {answer['error']}")
        return answer["ok"]

    def ask(self, do: str, **details: Any) -> Any:
        self.tell(do, **details)
        return self.hear()

    def _last_words(self) -> str:
        text = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"{self.setup.name} ended by itself:\n{text}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        if error is not None:
            self.process.kill()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class Store:
    """A database and a cache that all set-ups share, each with users, and cache keys, of its own."""

    def __init__(self, name: str, env: dict[str, str], folder: Path) -> None:
        self.name = name
        self.env = env
        self.folder = folder

    def worker(self, setup: Setup) -> Worker:
        return Worker(setup, self.env, self.folder / f"{self.name}-{setup.name}.log")

    @contextmanager
    def workers(self, setups: list[Setup]) -> Iterator[dict[str, Worker]]:
        with ExitStack() as stack:
            found = {setup.name: stack.enter_context(self.worker(setup)) for setup in setups}
            for worker in found.values():
                worker.tell("hello")
            for worker in found.values():
                worker.hear()
            yield found


def base_env(folder: Path) -> dict[str, str]:
    """The environment of every process: nothing of the caller's settings, and bytecode that is compiled once."""
    unwanted = ("BENCH_", "DJANGO_", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {
        **env,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
    }


@contextmanager
def scratch_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="secure_auth_bench_"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_store(folder: Path) -> Iterator[Store]:
    """SQLite in a file, and local memory."""
    store = Store("local", {**base_env(folder), "BENCH_DATABASE": str(folder / "bench.sqlite3")}, folder)
    with store.worker(EVERYTHING) as migrator:
        migrator.ask("migrate")
    yield store


def why_not_served() -> str | None:
    return why_not("postgres") or why_not("redis")


@contextmanager
def served_store(folder: Path, *, users: int | None = None, setups: list[str] | None = None) -> Iterator[Store]:
    """A database of its own on the PostgreSQL server, and keys of its own in Redis. Both are removed at the end."""
    name = f"secure_auth_bench_{os.getpid()}_{secrets.token_hex(3)}"
    server = url_of("postgres")
    cache = f"{url_of('redis')}/{_REDIS_DATABASE}"

    def administer(statement: str) -> None:
        with psycopg.connect(f"{server.replace('postgres://', 'postgresql://')}/postgres", autocommit=True) as link:
            link.execute(statement)  # type: ignore[call-overload]  # not in the stubs

    administer(f'CREATE DATABASE "{name}"')
    try:
        env = {**base_env(folder), "BENCH_DATABASE": f"{server}/{name}", "BENCH_REDIS": cache, "BENCH_PREFIX": name}
        store = Store("served", env, folder)
        with store.worker(EVERYTHING) as migrator:
            migrator.ask("migrate", **({"users": users} if users else {}), **({"setups": setups} if setups else {}))
        yield store
    finally:
        administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        with redis.Redis.from_url(cache) as client:
            for key in client.scan_iter(match=f"{name}:*", count=1000):
                client.delete(key)
