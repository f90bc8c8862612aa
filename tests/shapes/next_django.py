"""An environment of its own with the newest series of Django that we support, on a Python that it runs on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.reachable import ROOT
from tests.shapes.interpreter import DJANGO, OLDEST_PYTHON, interpreter, runs

VENV = ROOT / ".venv-django61"
BUILD_LIMIT = 600  # seconds
# For the real servers and the coverage, which this shape leaves out. The browser stays: pytest loads
# tests/test*/conftest.py, whatever it is asked to ignore.
NOT_FOR_THIS_SHAPE = {"gunicorn", "pytest-cov", "uvicorn"}


class CannotBuild(Exception):
    """The packages could not be installed."""


def environment() -> Path:
    """Return the interpreter of the environment, which is built when it is not there as described."""
    python = VENV / "bin" / "python"
    stamp = VENV / ".stamp"
    wanted = _description()
    with (ROOT / f"{VENV.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == wanted and runs(python)):
            _build(interpreter())
            stamp.write_text(wanted)
    return python


def _requirements() -> list[str]:
    """What the package and this part of its suite need, with the suite's own extras written out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: list[str] = []

    def add(lines: list[str]) -> None:
        for line in lines:
            requirement = Requirement(line)
            if requirement.name == project["name"]:
                for extra in sorted(requirement.extras):
                    add(project["optional-dependencies"][extra])
            elif requirement.name not in {"django", *NOT_FOR_THIS_SHAPE}:
                found.append(line)

    add(project["dependencies"])
    add(project["optional-dependencies"]["test"])
    return [*found, DJANGO]


def _constraints() -> str:
    """The locked versions, without Django's; without hashes, which pip would then ask of Django too."""
    locked = re.findall(r"^([a-z0-9][\w.-]*==[^\\\n]+?)\s*\\?$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return "\n".join(line for line in locked if not line.startswith("django=="))


def _description() -> str:
    parts = [*_requirements(), _constraints(), str(VENV), ".".join(map(str, OLDEST_PYTHON))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _build(python: str) -> None:
    print(f"building {VENV.name} with {python} …", flush=True)
    constraints = VENV / "constraints.txt"
    pip: list[str | Path] = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([python, "-m", "venv", "--clear", VENV], check=True, capture_output=True, timeout=BUILD_LIMIT)
        constraints.write_text(_constraints())
        install = [*pip, "--constraint", constraints, *_requirements()]
        subprocess.run(install, check=True, capture_output=True, timeout=BUILD_LIMIT, env=_plain_environment())
    except subprocess.CalledProcessError as error:
        output = error.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise CannotBuild(f"{VENV.name} could not be built: {output[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"{VENV.name} was not built within {BUILD_LIMIT} s") from error


def _plain_environment() -> dict[str, str]:
    """Without what makes coverage measure every Python that is started: pip is none of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


if __name__ == "__main__":
    print(environment())
    sys.exit()
