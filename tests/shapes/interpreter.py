"""The Python for the newest series of Django that we support; `python -m tests.shapes.interpreter` names it.

Nothing but the standard library, so that .ci/run can ask before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DJANGO = "django>=6.1,<6.2"
OLDEST_PYTHON = (3, 12)
NAMES = ("python3.13", "python3.12", "python3.14", "python3")


class NoInterpreter(Exception):
    """No Python of this machine runs that Django."""


def interpreter() -> str:
    """Return the path of a Python that is new enough and can make environments. Raises NoInterpreter."""
    for candidate in _candidates():
        if runs(Path(candidate)):
            return candidate
    oldest, names = ".".join(map(str, OLDEST_PYTHON)), ", ".join(NAMES)
    raise NoInterpreter(f"{DJANGO} needs a Python {oldest} or newer with venv; looked for {names}, also in pyenv")


def runs(python: Path) -> bool:
    question = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] < {OLDEST_PYTHON})"
    try:
        return subprocess.run([python, "-c", question], capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False


def _candidates() -> Iterator[str]:
    """By name on PATH, then in the folders of pyenv, whose names on PATH only some directories may use."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for name in NAMES:
        if path := shutil.which(name):
            yield path
        yield from sorted(map(str, pyenv.glob(f"{name.removeprefix('python')}.*/bin/{name}")), reverse=True)


if __name__ == "__main__":
    try:
        print(interpreter())
    except NoInterpreter as error:
        sys.exit(str(error))
