"""Known vulnerabilities in the locked versions, by pip-audit.

Exit code 0: none known. 1: found, or not all could be looked up. When the source of advisories cannot be reached
at all, that is what is said, and the exit code is 0; with AUDIT=required it is 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "constraints.txt"
COMMAND = [
    *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"),
    *("--format", "json", "--timeout", "15", "--requirement", LOCK),
]


def main() -> int:
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
        reason = (done.stderr.strip().splitlines() or [f"pip-audit: exit {done.returncode}"])[-1]
    else:
        reason = next((package["skip_reason"] for package in packages if "skip_reason" in package), "")

    audited = [package for package in packages if "vulns" in package]
    if not audited:
        print(f"The source of advisories cannot be reached, nothing was audited: {reason}")
        return 1 if os.environ.get("AUDIT") == "required" else 0

    found = [(package, vulnerability) for package in audited for vulnerability in package["vulns"]]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    left_out = [package for package in packages if "vulns" not in package]
    for package in left_out:
        print(f"{package['name']}: not audited: {package['skip_reason']}")
    print(f"{len(audited)} of {len(packages)} packages of {LOCK} audited, {len(found)} known vulnerabilities.")
    return 1 if found or left_out else 0


if __name__ == "__main__":
    sys.exit(main())
