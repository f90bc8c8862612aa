"""Run everything that `make test` promises, stage by stage, and close with one line that counts it all.

A stage whose database or service does not answer is counted as one skip, with the reason; SERVICES=required makes it a
failure, and every skipped test as well. SKIPS=forbidden fails the run when anything was skipped for whatever
reason. The last line is ``N passed, M failed, K skipped``; a linter, a type error, too little coverage or a stage
that broke down counts as one failure each, so that the line and the exit code never disagree.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import reachable  # noqa: E402  # needs the path above

BIN = Path(sys.executable).parent
PYTHON = [sys.executable]
STAGE_LIMIT = 3600  # seconds; a stage that hangs is ended, with its children, and a slow machine is none that hangs
COVERAGE_ASKED = 100

# Two checkouts on one machine must not empty each other's test database.
CHECKOUT = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        self.failed += 1
        self.failures.append(reason)

    def skip(self, reason: str) -> None:
        self.skipped += 1
        self.skips.append(reason)

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Run:
    """What all stages share."""

    scratch: Path
    seed: int
    nightly: bool
    services_required: bool
    output: IO[str] | None = None

    def environment(self, **more: str) -> dict[str, str]:
        env = {
            **os.environ,
            "COVERAGE_FILE": str(ROOT / ".coverage"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }
        for name in ("DATABASE_URL", "CACHE_URL", "DJANGO_SETTINGS_MODULE"):
            if name not in more:
                env.pop(name, None)
        if self.services_required:
            env["SECURE_AUTH_REQUIRE_SERVICES"] = "1"
        if self.nightly:
            env["HYPOTHESIS_PROFILE"] = "nightly"
        return env


@dataclass(frozen=True)
class Stage:
    name: str
    needs: tuple[str, ...]
    work: Callable[[Run, str], Tally]


# ------------------------------------------------------------------------------------------------------- static checks


def django_admin(*arguments: str) -> list[str]:
    return [*PYTHON, "-m", "django", *arguments, "--settings", "tests.settings", "--pythonpath", str(ROOT)]


def lint_commands() -> dict[str, list[str]]:
    bandit = [*PYTHON, "-m", "bandit", "-q", "--severity-level", "medium", "-c", "pyproject.toml"]
    return {
        "ruff check": [*PYTHON, "-m", "ruff", "check", "."],
        "ruff format": [*PYTHON, "-m", "ruff", "format", "--check", "."],
        "import-linter": [str(BIN / "lint-imports")],
        # The low ones are ruff's S rules already; asked for twice, each exception would need two comments.
        "bandit": [*bandit, "-r", "django_secure_auth", "testproject"],
        "missing migrations": django_admin("makemigrations", "--check", "--dry-run"),
    }


def types_commands() -> dict[str, list[str]]:
    return {"mypy": [*PYTHON, "-m", "mypy", "django_secure_auth", "testproject", "tests/typing_tests"]}


def check_all(commands: dict[str, list[str]], run: Run) -> Tally:
    def check(command: list[str]) -> tuple[int, str, float]:
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=run.environment(), capture_output=True, text=True, check=False, timeout=STAGE_LIMIT
        )
        return done.returncode, (done.stdout + done.stderr).strip(), time.monotonic() - started

    tally = Tally()
    with ThreadPoolExecutor(2) as pool:
        for name, (code, output, seconds) in zip(commands, pool.map(check, commands.values()), strict=True):
            print(f"{name}: {'ok' if code == 0 else f'exit {code}'} ({seconds:.1f} s)", flush=True)
            if code != 0:
                print(output, flush=True)
                tally.fail(f"{name}: exit {code}")
    return tally


def lint(run: Run, _name: str) -> Tally:
    return check_all(lint_commands(), run)


def types(run: Run, _name: str) -> Tally:
    return check_all(types_commands(), run)


# --------------------------------------------------------------------------------------------------------------- tests


# What runs now, for the interrupt that reaches the main thread while another one waits for its stage.
running: set[subprocess.Popen[bytes]] = set()
interrupted = threading.Event()


def execute(command: list[str], env: dict[str, str], output: IO[str] | None = None) -> int:
    """Run in a process group of its own, which is ended when the time is up or the user interrupts."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, stdout=output, stderr=output)
    running.add(process)
    try:
        if interrupted.is_set():
            raise KeyboardInterrupt
        return process.wait(timeout=STAGE_LIMIT)
    except subprocess.TimeoutExpired:
        end(process)
        print(f"ended after {STAGE_LIMIT} s", flush=True)
        return 124
    except BaseException:
        end(process)
        raise
    finally:
        running.discard(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would: pytest takes down what its fixtures have started. What is still there after that is killed."""
    for number, seconds in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            return


def end_all() -> None:
    interrupted.set()
    for process in list(running):
        end(process)


def count(files: Iterable[Path], stage: str) -> Tally:
    tally = Tally()
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314  (written by our own pytest)
            name = f"{stage}: {case.get('classname')}::{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                tally.fail(name)
            elif (skipped := case.find("skipped")) is not None:
                tally.skip(f"{name}: {skipped.get('message')}")
            else:
                tally.passed += 1
    return tally


def counted(arguments: list[str], *, run: Run, stage: str, **env: str) -> Tally:
    """Run a Python module and count what its pytest runs leave in the stage's folder."""
    results = run.scratch / f"junit-{stage}"
    results.mkdir()
    environment = run.environment(SECURE_AUTH_JUNIT_DIR=str(results), **env)
    code = execute([*PYTHON, "-m", *arguments], environment, run.output)
    tally = count(sorted(results.glob("*.xml")), stage)
    if code != 0 and not tally.failed:
        tally.fail(f"{stage}: exit {code}")
    return tally


def measured(arguments: list[str], *, run: Run, stage: str, **env: str) -> Tally:
    """The same under coverage."""
    return counted(["coverage", "run", "-m", *arguments], run=run, stage=stage, **env)


def pytest(*arguments: str, run: Run, workers: int) -> list[str]:
    parallel = ["-n", str(workers)] if workers else []
    return ["pytest", "-q", "-rs", "-p", "no:cacheprovider", f"--randomly-seed={run.seed}", *parallel, *arguments]


def ordinary(run: Run) -> str:
    return "not services" if run.nightly else "not services and not nightly"


def sqlite(run: Run, name: str) -> Tally:
    # In a file: the threads of a live server cannot share a database in memory.
    file = str(run.scratch / "test.sqlite3")
    # With services the races come in tests/races/test_other_databases.py, on SQLite too and with ATOMIC_REQUESTS.
    left_out = ["--ignore=tests/races"] if run.services_required else []
    arguments = pytest("-m", ordinary(run), *left_out, run=run, workers=2)
    return measured(arguments, run=run, stage=name, DSA_TEST_DB_FILE=file)


# What no database decides: once is enough.
WITHOUT_DATABASE = (
    "tests/doctor",
    "tests/headers",
    "tests/kit",
    "tests/otp/test_policy.py",
    "tests/passwords/test_validators.py",
    "tests/ratelimit/test_counter.py",
    "tests/rbac/test_policy.py",
    "tests/strict",
    "tests/testproject",
    "tests/test_checks.py",
    "tests/test_decorators.py",
    "tests/test_docs.py",
    "tests/test_matrix.py",
    "tests/test_openapi.py",
    "tests/test_exceptions.py",
    "tests/test_project.py",
    "tests/test_public_paths.py",
    "tests/test_routes.py",
    "tests/test_settings.py",
)


def postgres(run: Run, name: str) -> Tally:
    url = f"{reachable.url_of('postgres')}/secure_auth_{CHECKOUT}"
    left_out = [f"--ignore={path}" for path in WITHOUT_DATABASE]
    arguments = pytest("-m", ordinary(run), *left_out, run=run, workers=2)
    return measured(arguments, run=run, stage=name, DATABASE_URL=url)


def services(run: Run, name: str) -> Tally:
    """Workers, brokers, browsers: a file has one worker, since its tests share a deployment; a class has its own."""
    url = f"{reachable.url_of('postgres')}/secure_auth_{CHECKOUT}_services"
    chosen = "services" if run.nightly else "services and not nightly"
    arguments = pytest("-m", chosen, "--dist=loadscope", "--durations=12", run=run, workers=2)
    return measured(arguments, run=run, stage=name, DATABASE_URL=url)


def shapes(run: Run, name: str) -> Tally:
    """tests/shapes starts pytest once per project shape; tests/conftest.py leaves each result where we count it.

    Not under coverage: what these run, the stages on SQLite and PostgreSQL have measured.
    """
    return counted(["tests.shapes"], run=run, stage=name, SEED=str(run.seed))


# Workers and brokers are mostly waited for: what computes goes on beside them.
AWAITED = "services"
STAGES = [
    Stage("lint", (), lint),
    Stage("types", (), types),
    Stage("services", ("postgres", "redis", "amqp", "chromium"), services),
    Stage("sqlite", (), sqlite),
    Stage("postgres", ("postgres",), postgres),
    Stage("shapes", (), shapes),
]
# Without these the lines that only one database or a worker runs are missing.
MEASURED = {"sqlite", "postgres", "services"}


def coverage(*, asked: bool) -> Tally:
    tally = Tally()
    env = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage")}
    subprocess.run([*PYTHON, "-m", "coverage", "combine", "--quiet"], cwd=ROOT, env=env, check=False)
    limit = [f"--fail-under={COVERAGE_ASKED}"] if asked else []
    done = subprocess.run([*PYTHON, "-m", "coverage", "report", *limit], cwd=ROOT, env=env, check=False)
    if asked and done.returncode:
        tally.fail(f"coverage: below {COVERAGE_ASKED} %")
    if not asked:
        print(f"Not every stage ran: {COVERAGE_ASKED} % are not asked for.")
    return tally


# ----------------------------------------------------------------------------------------------------------------- all


def heading(text: str) -> None:
    print(f"\n===== {text} ".ljust(100, "="), flush=True)


def run_stage(stage: Stage, run: Run) -> tuple[Tally, bool]:
    """The stage's count, and whether it ran with all it needs."""
    missing = [reason for service in stage.needs if (reason := reachable.why_not(service))]
    # In the services stage every test says for itself what it misses: what is there is tested.
    partly = stage.name == "services" and reachable.why_not("postgres") is None
    tally = Tally()
    for reason in missing:
        print(reason, flush=True)
        if run.services_required:
            tally.fail(f"{stage.name}: {reason}")
        elif not partly:
            tally.skip(f"{stage.name}: {reason}")
    if missing and not partly:
        return tally, False
    tally.add(stage.work(run, stage.name))
    return tally, not missing


def timed(stage: Stage, run: Run) -> tuple[Tally, bool, float]:
    started = time.monotonic()
    tally, whole = run_stage(stage, run)
    return tally, whole, time.monotonic() - started


def note(
    stage: Stage,
    outcome: tuple[Tally, bool, float],
    tallies: dict[str, tuple[Tally, float]],
    complete: set[str],
) -> None:
    tally, whole, seconds = outcome
    tallies[stage.name] = (tally, seconds)
    if whole:
        complete.add(stage.name)


def report(tallies: dict[str, tuple[Tally, float]]) -> Tally:
    total = Tally()
    heading("summary")
    for name, (tally, seconds) in tallies.items():
        print(f"{name:<10} {seconds:7.1f} s   {tally}")
        total.add(tally)
    for title, lines in (("skipped", total.skips), ("failed", total.failures)):
        if lines:
            print(f"\n{title}:")
            print("\n".join(f"  {line}" for line in lines))
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=[stage.name for stage in STAGES], help="this stage; repeatable"
    )
    parser.add_argument(
        "--nightly", action="store_true", help="with the tests marked nightly, and more Hypothesis examples"
    )
    options = parser.parse_args()

    required = os.environ.get("SERVICES") or "auto"
    if required not in {"auto", "required"}:
        parser.error("SERVICES is `auto` or `required`")
    chosen = [stage for stage in STAGES if not options.only or stage.name in options.only]

    scratch = Path(tempfile.mkdtemp(prefix="secure-auth-"))
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    run = Run(scratch=scratch, seed=seed, nightly=options.nightly, services_required=required == "required")
    tallies: dict[str, tuple[Tally, float]] = {}
    complete: set[str] = set()
    try:
        for old in ROOT.glob(".coverage*"):
            old.unlink()
        print(f"Python {sys.version.split()[0]}; order of the tests: SEED={seed}")
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting: Future[tuple[Tally, bool, float]] | None = None
            try:
                for stage in chosen:
                    if stage.name == AWAITED:
                        waiting = pool.submit(timed, stage, replace(run, output=(scratch / "awaited").open("w")))
                        continue
                    heading(stage.name)
                    note(stage, timed(stage, run), tallies, complete)
                if waiting is not None:
                    outcome = waiting.result()
                    heading(AWAITED)
                    print((scratch / "awaited").read_text(), flush=True)
                    note(Stage(AWAITED, (), services), outcome, tallies, complete)
            except BaseException:
                end_all()  # or leaving the pool would wait for the other stage's end
                raise
        if MEASURED & {stage.name for stage in chosen}:
            heading("coverage")
            started = time.monotonic()
            tallies["coverage"] = (coverage(asked=complete >= MEASURED), time.monotonic() - started)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

    total = report(tallies)
    if os.environ.get("SKIPS") == "forbidden" and total.skipped:
        print(f"\nSKIPS=forbidden, and {total.skipped} were skipped.")
        total.failed += 1
    print(f"\n{total}", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
