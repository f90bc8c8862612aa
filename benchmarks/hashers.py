"""A hasher that costs nothing: what is left of a sign-in is what the set-ups differ in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher


class FreeHasher(BasePasswordHasher):
    """Compares the password itself. For benchmarks only."""

    algorithm = "free"

    def salt(self) -> str:
        return "salt"

    def encode(self, password: str, salt: str) -> str:
        return f"{self.algorithm}${salt}${password}"

    def decode(self, encoded: str) -> dict[str, Any]:
        algorithm, salt, password = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": password}

    def verify(self, password: str, encoded: str) -> bool:
        return encoded == self.encode(password, "salt")

    def safe_summary(self, encoded: str) -> dict[str, Any]:
        return {"algorithm": self.algorithm}

    def harden_runtime(self, password: str, encoded: str) -> None:
        return
