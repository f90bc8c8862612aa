"""Deployments for a module's tests. They are started when first asked for, and shared: in whatever order tests run."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests import reachable
from tests.real import observatory
from tests.real.deployment import Deployment, delete_queue, drop_database, execute_as_owner, own_redis_database
from tests.real.postoffice import PostOffice

NEEDED = ("postgres", "redis", "amqp")
# A scanner of npm's, which not every machine can get: without `scripts/observatory install` its tests are
# not of the suite.
collect_ignore = [] if observatory.is_installed() else ["test_observatory.py"]

Deploy: TypeAlias = Callable[..., Deployment]


@pytest.fixture(scope="session", autouse=True)
def _everything_is_there() -> None:
    for service in NEEDED:
        if reason := reachable.why_not(service):
            pytest.skip(reason)


@pytest.fixture(scope="session")
def template_database(_everything_is_there: None) -> Iterator[str]:
    """A migrated database; PostgreSQL copies it in a moment, which `migrate` takes seconds for."""
    name = f"secure_auth_real_{os.getpid()}_{secrets.token_hex(3)}"
    execute_as_owner(f'CREATE DATABASE "{name}"')
    try:
        env = {**os.environ, "DATABASE_URL": f"{reachable.url_of('postgres')}/{name}", "DEBUG": "1"}
        env["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
        done = subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
            cwd=reachable.ROOT, env={**env, "PYTHONPATH": str(reachable.ROOT)}, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield name
    finally:
        drop_database(name)


@pytest.fixture(scope="module")
def deploy(template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    """Return a function that deploys the project on "redis" or "amqp", and takes it down after the module.

    `through(url)` may put a wire in the broker's way; further environment goes by keyword.
    """
    with contextlib.ExitStack() as stack:

        def make(broker: str, *, through: Callable[[str], str] = str, **extra: str) -> Deployment:
            folder: Path = tmp_path_factory.mktemp(f"deployment-{broker}")
            database = f"{template_database}_{secrets.token_hex(3)}"
            execute_as_owner(f'CREATE DATABASE "{database}" TEMPLATE "{template_database}"')
            stack.callback(drop_database, database)
            queue = f"secure_auth_real_{secrets.token_hex(4)}"
            if broker == "redis":
                url = stack.enter_context(own_redis_database())
            else:
                url = f"{reachable.url_of('amqp')}//"
                stack.callback(delete_queue, url, queue)
            post = PostOffice()
            post.start()
            stack.callback(post.stop)
            made = Deployment(folder, database, post, through(url), queue, extra)
            stack.callback(made.stop)
            return made

        yield make
