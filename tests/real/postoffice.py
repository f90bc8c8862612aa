"""An SMTP server in this process: it keeps the letters, and misbehaves towards one address when it is told to."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.real.waiting import free_port, until

_CODE = re.compile(r"^Code: ([0-9]{6})\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Letter:
    """One mail as it was taken over. `at` is monotonic."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message

    def part(self, kind: str) -> str:
        """The text of the part `plain` or `html`."""
        part = self.message.get_body(preferencelist=(kind,))
        assert part is not None
        return str(part.get_content())

    @property
    def code(self) -> str:
        found = _CODE.search(self.part("plain"))
        assert found, self.part("plain")
        return found[1]


@dataclass
class Manners:
    """How one address is treated."""

    refuse: int = 0
    delay: float = 0.0
    hang: bool = False
    tried_at: list[float] = field(default_factory=list)
    holds: int = 0
    """Mails that hang in its hands at this moment."""


class PostOffice:
    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.manners: dict[str, Manners] = {}
        self._lock = threading.Lock()
        # The controller connects to its own port once, so it must be known beforehand: 0 does not do.
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop(no_assert=True)

    def treat(self, address: str) -> Manners:
        with self._lock:
            return self.manners.setdefault(address, Manners())

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        manners = self.treat(envelope.rcpt_tos[0])
        manners.tried_at.append(time.monotonic())
        if len(manners.tried_at) <= manners.refuse:
            return "451 4.3.2 Try again later"
        await asyncio.sleep(manners.delay)
        if manners.hang:
            manners.holds += 1
            try:
                while manners.hang:  # noqa: ASYNC110  (told from another thread)
                    await asyncio.sleep(0.05)
            finally:
                manners.holds -= 1
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        with self._lock:
            self.letters.append(Letter(time.monotonic(), str(envelope.mail_from), tuple(envelope.rcpt_tos), content))
        return "250 OK"

    def of(self, address: str) -> list[Letter]:
        with self._lock:
            return [letter for letter in self.letters if address in letter.recipients]

    def wait_for(self, address: str, *, count: int = 1, seconds: float = 20.0) -> list[Letter]:
        """Wait until `count` letters have come for an address, and return all that there are."""
        until(lambda: len(self.of(address)) >= count, f"{count} letter(s) for {address}", seconds=seconds)
        return self.of(address)
