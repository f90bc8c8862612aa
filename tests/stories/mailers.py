"""Mail backends that break."""

from __future__ import annotations

from typing import Any

from django.core.mail.backends.base import BaseEmailBackend


class AwayBackend(BaseEmailBackend):
    """A mail server that refuses the connection."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError("the mail server is away")
