"""What the environment must and may say. In production, one message names everything that is missing or weak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from django_secure_auth.kit.keys import b64decode, is_weak_secret

MIN_SECRET = 32
KEY_BYTES = 32
_MAIL_THAT_ARRIVES = ("smtp:", "smtps:", "smtp+tls:", "smtp+ssl:")


class Incomplete(SystemExit):
    """The start is refused; the text lists every value that is missing or weak."""


def key_pairs(text: str) -> list[tuple[str, str]]:
    """Read `kid:base64,kid:base64`. Raises ValueError, which never holds key material."""
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        kid, separator, key = part.partition(":")
        if not (kid and separator and key):
            raise ValueError("write kid:base64, separated by commas")
        if len(b64decode(key.rstrip("="))) < KEY_BYTES:
            raise ValueError(f"the key {kid!r} is shorter than {KEY_BYTES} bytes")
        pairs.append((kid, key))
    return pairs


def _keys_complaint(text: str) -> str | None:
    try:
        pairs = key_pairs(text)
    except ValueError as error:
        return f"cannot be read: {error}"
    weak = [kid for kid, key in pairs if is_weak_secret(b64decode(key.rstrip("=")))]
    if weak:
        return f"holds a weak key: {', '.join(weak)}"
    return None if pairs else "is missing"


def _is_https_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    rest = parts.path.strip("/") or parts.query or parts.fragment
    return parts.scheme == "https" and bool(parts.hostname) and not rest


def _complaints(environment: Mapping[str, str]) -> Iterator[str]:
    def value(name: str) -> str:
        return environment.get(name, "").strip()

    secret = value("SECRET_KEY")
    if not secret:
        yield "SECRET_KEY is missing"
    elif len(secret) < MIN_SECRET or is_weak_secret(secret.encode()):
        yield f"SECRET_KEY is weak: make {MIN_SECRET} random characters or more"
    hosts = [host.strip() for host in value("ALLOWED_HOSTS").split(",") if host.strip()]
    if not hosts:
        yield "ALLOWED_HOSTS is missing"
    elif "*" in hosts:
        yield "ALLOWED_HOSTS is weak: * accepts every name; write the names of your site"
    if not value("BASE_URL"):
        yield "BASE_URL is missing"
    elif not _is_https_origin(value("BASE_URL")):
        yield "BASE_URL is weak: write https://, a host and nothing behind it"
    if not value("EMAIL_URL"):
        yield "EMAIL_URL is missing"
    elif not value("EMAIL_URL").startswith(_MAIL_THAT_ARRIVES):
        yield "EMAIL_URL is weak: it would show codes instead of mailing them; write smtp+tls://user:password@host:587"
    for name in ("SECURE_AUTH_SIGNING_KEYS", "SECURE_AUTH_ENCRYPTION_KEYS"):
        complaint = _keys_complaint(value(name))
        if complaint:
            option = " --encryption" if "ENCRYPTION" in name else ""
            yield f"{name} {complaint} (DEBUG=1 manage.py secure_auth_keys generate{option} makes one)"


def refuse_incomplete(environment: Mapping[str, str]) -> None:
    """Stop the start of a production process that lacks a required value, or has a weak one. Raises Incomplete."""
    complaints = list(_complaints(environment))
    if complaints:
        raise Incomplete("The settings are not complete for production (DEBUG=0):\n  - " + "\n  - ".join(complaints))
