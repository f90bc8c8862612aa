"""testproject as its users run it: a process of its own, told by its environment."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery staple"
Manage = Callable[..., "subprocess.CompletedProcess[str]"]


def clean_environment(**values: str) -> dict[str, str]:
    """This process's environment without what settings.py reads, so that a test says all that counts."""
    named = set(re.findall(r'env\.\w+\("([A-Z_]+)"', (ROOT / "testproject/settings.py").read_text()))
    rest = {name: value for name, value in os.environ.items() if name not in named and not name.startswith("DSA_")}
    return {**rest, "DJANGO_SETTINGS_MODULE": "testproject.settings", "PYTHONUNBUFFERED": "1", **values}


@dataclass(frozen=True)
class Demo:
    """A running `manage.py demo`, its users' password, and the mail that it has sent."""

    url: str
    mailbox: Path
    log: Path

    def code(self, *, after: int) -> str:
        """The code of the first mail behind the first `after` ones."""
        deadline = time.monotonic() + 10
        while len(codes := self.codes()) <= after:
            assert time.monotonic() < deadline, f"no mail: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return codes[after]

    def codes(self) -> list[str]:
        return self.found_in_mails(r"^Code: ([0-9]{6})$")

    def link(self, path: str, *, to: str) -> str:
        """The newest link to this page that was mailed to this address."""
        deadline = time.monotonic() + 10
        wanted = rf"(?s)^To: {re.escape(to)}$.*?^(https?://\S+{re.escape(path)}#uid=\S+&token=\S+)$"
        while not (links := self.found_in_mails(wanted)):
            assert time.monotonic() < deadline, f"no link: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return links[-1]

    def found_in_mails(self, pattern: str) -> list[str]:
        files = sorted(self.mailbox.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        texts = [str(message_from_bytes(file.read_bytes(), policy=policy.default)) for file in files]
        return [found for text in texts for found in re.findall(pattern, text, re.MULTILINE)]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
