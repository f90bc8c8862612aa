"""In a network where every address inside answers, no URL of hundreds reaches one, and the public one is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import reachable

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.control("ASVS-1.3.6", "ASVS-15.3.2")
def test_nothing_inside_is_connected_to_though_it_would_answer() -> None:
    if reason := reachable.why_not("netns"):
        pytest.skip(reason)
    done = subprocess.run(
        [*reachable.OWN_NETWORK, sys.executable, "-m", "tests.real.inside_network"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(said)
    assert said["addresses"] >= 100
    assert said["urls"] >= 1200
    assert said["refused"] == said["refused later"] == said["urls"]
    assert (said["connected"], said["connected later"]) == (0, 0)
    assert (said["allowed"], said["allowed later"], said["allowed by its address"]) == (1, 1, 1)
    # Or the zeros would only say that nobody was there.
    assert said["by a library that does not look"] >= 300
