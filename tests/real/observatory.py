"""The MDN HTTP Observatory, as it is published, judges a site of the tests. `scripts/observatory install` brings it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import reachable

_SCANNER = reachable.ROOT / ".observatory/node_modules/@mdn/mdn-http-observatory/src/scan.js"
# What the Observatory has judged since its last release on npm (1.4.8), ten points each.
_NEWER = {
    "cross-origin-opener-policy": ("same-origin", "same-origin-allow-popups", "noopener-allow-popups"),
    "cross-origin-embedder-policy": ("require-corp", "credentialless"),
}
_LEAD = Path(__file__).parent / "to_this_machine.cjs"


def is_installed() -> bool:
    return _SCANNER.exists() and shutil.which("node") is not None


@dataclass(frozen=True)
class Scan:
    score: int
    grade: str
    tests: Mapping[str, Mapping[str, Any]]
    headers: Mapping[str, Any]

    @property
    def score_today(self) -> int:
        """The published scanner's points, and those of the two tests that the site of MDN has and npm has not."""
        return self.score + 10 * sum(self.headers.get(name) in values for name, values in _NEWER.items())

    @property
    def failed(self) -> dict[str, str]:
        """The tests that were not passed, each with the Observatory's word for why."""
        return {name: str(test["result"]) for name, test in self.tests.items() if not test["pass"]}

    @property
    def results(self) -> dict[str, str]:
        return {name: str(test["result"]) for name, test in self.tests.items()}


def scan(name: str, routes: Mapping[str, int], *, certificate: Path) -> Scan:
    """Scan `https://<name>/` and `http://<name>/`; `routes` leads `name:port` to a port here, others are closed."""
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_EXTRA_CA_CERTS": str(certificate),
        "OBSERVATORY_ROUTES": json.dumps(dict(routes)),
    }
    done = subprocess.run(
        ["node", "--require", str(_LEAD), str(_SCANNER), name],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    told = answer["scan"]
    return Scan(int(told["score"]), str(told["grade"]), answer["tests"], told["responseHeaders"])
