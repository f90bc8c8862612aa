"""Run the stories in every shape of project that we promise to work in: `python -m tests.shapes [--only NAME]`.

The plainest shape is not among these: tests/settings.py as it is (`auth.User`, Django 5.2, neither ATOMIC_REQUESTS nor
STATE_CACHE nor another prefix) is what the stages on SQLite and PostgreSQL run the same stories in, with all the rest.
Each of those differences stands in one shape or more here, several at a time; the names say which.

Each shape is one pytest of its own, configured by the variables of tests/settings.py, two of them at a time. What a
shape lacks (a server, an interpreter, the package index) is counted as one skip, with the reason; with
SECURE_AUTH_REQUIRE_SERVICES=1 a server or an index that does not answer is a failure.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from tests import reachable
from tests.shapes import next_django
from tests.shapes.interpreter import NoInterpreter
from tests.shapes.next_django import CannotBuild

ROOT = reachable.ROOT
AT_ONCE = 2
QUICK = "not slow and not services and not nightly"
STORIES = ("tests/stories", "tests/shapes")
# What a series of Django can change, beyond the stories: no races, no real servers, no files, nothing without Django.
NOT_FOR_A_SERIES = (
    *("tests/races", "tests/real", "tests/testproject", "tests/kit", "tests/strict/test_parsers.py"),
    *("tests/test_docs.py", "tests/test_matrix.py", "tests/test_project.py", "tests/test_readme_commands.py"),
)
# Redis databases of these shapes alone: a clean slate before each test is FLUSHDB.
REDIS_DATABASES = {"mariadb-uuid": 10, "postgres-uuid": 11}
CHECKOUT = sha256(str(ROOT).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Shape:
    name: str
    env: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = STORIES
    shared_cache: bool = False
    database: str = ""  # a server of tests/reachable.py; none: SQLite in a file
    interpreter: Callable[[], Path] = lambda: Path(sys.executable)


@dataclass(frozen=True)
class Result:
    name: str
    state: str  # ok, failed, skipped
    text: str
    seconds: float


def user_model(name: str) -> dict[str, str]:
    return {"DSA_USER_MODEL": f"users_{name}.User", "DSA_EXTRA_APPS": f"tests.shapes.users_{name}"}


ATOMIC = {"DSA_ATOMIC_REQUESTS": "1"}
PREFIX = {"DSA_PREFIX": "accounts/v2/auth/"}
SHAPES = (
    # The longest first.
    Shape(
        "django-6.1",
        paths=("tests", *(f"--ignore={path}" for path in NOT_FOR_A_SERIES)),
        interpreter=next_django.environment,
    ),
    # A key that is a UUID is stored in a type of its own on the one, and on the other in what Django makes of it.
    Shape("mariadb-uuid", user_model("uuid"), shared_cache=True, database="mariadb"),
    Shape("postgres-uuid", user_model("uuid") | ATOMIC, shared_cache=True, database="postgres"),
    Shape("postgres-nameless", user_model("nameless") | PREFIX, database="postgres"),
    Shape("int+atomic+prefix", user_model("int") | ATOMIC | PREFIX),
)


def services_required() -> bool:
    return os.environ.get("SECURE_AUTH_REQUIRE_SERVICES") == "1"


def cache_url(shape: Shape, scratch: Path) -> str:
    """A cache that processes can share: Redis where it answers, else files."""
    if reachable.why_not("redis") is None:
        return f"{reachable.url_of('redis').replace('redis://', 'rediscache://')}/{REDIS_DATABASES[shape.name]}"
    return f"filecache://{scratch / 'cache'}"


def environment(shape: Shape, scratch: Path) -> dict[str, str]:
    foreign = {"DATABASE_URL", "CACHE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS"}
    own = ("DSA_", "COVERAGE_")
    env = {name: value for name, value in os.environ.items() if name not in foreign and not name.startswith(own)}
    env |= {"DSA_TEST_DB_FILE": str(scratch / "test.sqlite3"), **shape.env}
    if shape.database:
        name = f"secure_auth_{CHECKOUT}_{shape.name.replace('-', '_')}"
        env["DATABASE_URL"] = f"{reachable.url_of(shape.database)}/{name}"
    if shape.shared_cache:
        env |= {"CACHE_URL": cache_url(shape, scratch), "DSA_STATE_CACHE": "default"}
    return env


def command(shape: Shape, python: Path, seed: int) -> list[str]:
    arguments = ["-q", "-rfEs", "-p", "no:cacheprovider", "-m", QUICK, f"--randomly-seed={seed}"]
    return [str(python), "-m", "pytest", *arguments, f"--junit-prefix={shape.name}", *shape.paths]


def attempt(shape: Shape, scratch: Path, seed: int) -> Result:
    started = time.monotonic()

    def result(state: str, text: str) -> Result:
        return Result(shape.name, state, text, time.monotonic() - started)

    if shape.database and (reason := reachable.why_not(shape.database)):
        return result("failed" if services_required() else "skipped", reason)
    try:
        python = shape.interpreter()
    except NoInterpreter as error:
        return result("skipped", str(error))
    except CannotBuild as error:
        return result("failed" if services_required() else "skipped", str(error))
    scratch.mkdir()
    done = subprocess.run(
        command(shape, python, seed),
        cwd=ROOT,
        env=environment(shape, scratch),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or [f"exit {done.returncode}, without a word"]
    if done.returncode:
        print(f"\n----- {shape.name}: exit {done.returncode}\n{done.stdout}", flush=True)
        return result("failed", lines[-1])
    return result("ok", lines[-1])


def leave_for_counting(result: Result) -> None:
    """A shape that never came to pytest is one line in the folder where scripts/run_tests.py counts."""
    folder = os.environ.get("SECURE_AUTH_JUNIT_DIR")
    if not folder:
        return
    if any(_is_of(result.name, file) for file in Path(folder).glob("pytest-*.xml")):
        return
    tag = "skipped" if result.state == "skipped" else "failure"
    (Path(folder) / f"shape-{result.name}.xml").write_text(
        f'<testsuites><testsuite name="shapes"><testcase classname="tests.shapes" name={quoteattr(result.name)}>'
        f"<{tag} message={quoteattr(result.text)}/></testcase></testsuite></testsuites>"
    )


def _is_of(name: str, file: Path) -> bool:
    cases = ElementTree.parse(file).iter("testcase")  # noqa: S314  (written by our own pytest)
    return any(str(case.get("classname")).startswith(f"{name}.") for case in cases)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shapes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=[shape.name for shape in SHAPES], help="repeatable")
    options = parser.parse_args()
    chosen = [shape for shape in SHAPES if not options.only or shape.name in options.only]
    seed = int(os.environ.get("SEED") or random.randrange(2**32))

    print(f"Order of the tests: SEED={seed}", flush=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="secure-auth-shapes-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        for result in pool.map(lambda shape: attempt(shape, Path(folder) / shape.name, seed), chosen):
            leave_for_counting(result)
            results.append(result)
    print()
    for result in results:
        print(f"{result.name:<22} {result.state:<8} {result.seconds:6.1f} s   {result.text}", flush=True)
    return 1 if any(result.state == "failed" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
