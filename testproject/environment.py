"""What the environment must and may say. In production, one message names everything that is missing."""

from __future__ import annotations

from collections.abc import Mapping

from django_secure_auth.kit.keys import b64decode, is_weak_secret

MIN_SECRET = 32
KEY_BYTES = 32


class Incomplete(SystemExit):
    """The start is refused; the text lists every value that is missing or weak."""


def key_pairs(text: str) -> list[tuple[str, str]]:
    """Read `kid:base64,kid:base64`. Raises ValueError."""
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        kid, separator, key = part.partition(":")
        if not (kid and separator and key):
            raise ValueError("write kid:base64, separated by commas")
        if len(b64decode(key.rstrip("="))) < KEY_BYTES:
            raise ValueError(f"the key {kid!r} is shorter than {KEY_BYTES} bytes")
        pairs.append((kid, key))
    return pairs


def _key_complaint(text: str) -> str | None:
    try:
        return None if key_pairs(text) else "is missing"
    except ValueError as error:
        return f"cannot be read: {error}"


def refuse_incomplete(environment: Mapping[str, str]) -> None:
    """Stop the start of a production process that lacks a required value. Raises Incomplete."""
    complaints = []
    secret = environment.get("SECRET_KEY", "")
    if not secret:
        complaints.append("SECRET_KEY is missing")
    elif len(secret) < MIN_SECRET or is_weak_secret(secret.encode()):
        complaints.append(f"SECRET_KEY is weak: make {MIN_SECRET} random characters or more")
    for name in ("ALLOWED_HOSTS", "BASE_URL", "EMAIL_URL"):
        if not environment.get(name, "").strip():
            complaints.append(f"{name} is missing")
    for name in ("SECURE_AUTH_SIGNING_KEYS", "SECURE_AUTH_ENCRYPTION_KEYS"):
        complaint = _key_complaint(environment.get(name, ""))
        if complaint:
            complaints.append(f"{name} {complaint} (manage.py secure_auth_keys generate makes one)")
    if complaints:
        raise Incomplete("The settings are not complete for production (DEBUG=0):\n  - " + "\n  - ".join(complaints))
