"""What the environment must and may say. In production, one message names everything that is missing or weak."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from django_secure_auth.conf import Conf, shared_keys
from django_secure_auth.kit.keys import is_weak_secret

MIN_SECRET = 32
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
        pairs.append((kid, key))
    return pairs


def _entries(text: str) -> list[dict[str, str]]:
    return [{"kid": kid, "alg": "HS256", "key": key} for kid, key in key_pairs(text)]


def _keys_complaint(text: str, judge: Callable[[Any], str | None]) -> str | None:
    """What is good enough is the package's to say; here it is only said before anything starts."""
    try:
        entries = _entries(text)
    except ValueError as error:
        return f"cannot be read: {error}"
    if not entries:
        return "is missing"
    complaint = judge(entries)
    return complaint.rstrip(".") if complaint else None


def _is_weak(secret: str) -> bool:
    return len(secret) < MIN_SECRET or is_weak_secret(secret.encode())


def _is_https_origin(url: str) -> bool:
    return Conf.BASE_URL.judge(url) is None and url.startswith("https://") and not urlsplit(url).path.strip("/")


def _complaints(environment: Mapping[str, str]) -> Iterator[str]:
    def value(name: str) -> str:
        return environment.get(name, "").strip()

    secret = value("SECRET_KEY")
    if not secret:
        yield "SECRET_KEY is missing"
    elif _is_weak(secret):
        yield f"SECRET_KEY is weak: make {MIN_SECRET} random characters or more"
    if any(_is_weak(retired) for retired in value("SECRET_KEY_FALLBACKS").split(",") if retired):
        yield "SECRET_KEY_FALLBACKS holds a weak key: what it signed is still believed; take it out"
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
    foreign = [origin.strip() for origin in value("CORS_ALLOWED_ORIGINS").split(",") if origin.strip()]
    if not all(_is_https_origin(origin) for origin in foreign):
        yield "CORS_ALLOWED_ORIGINS is weak: write https:// and a host for each, no * and no null"
    yield from _key_complaints(value("SECURE_AUTH_SIGNING_KEYS"), value("SECURE_AUTH_ENCRYPTION_KEYS"))


def _key_complaints(signing: str, encryption: str) -> Iterator[str]:
    is_fine = True
    for name, text, setting, option in (
        ("SECURE_AUTH_SIGNING_KEYS", signing, Conf.SIGNING_KEYS, ""),
        ("SECURE_AUTH_ENCRYPTION_KEYS", encryption, Conf.ENCRYPTION_KEYS, " --encryption"),
    ):
        complaint = _keys_complaint(text, setting.judge)
        if complaint:
            is_fine = False
            yield f"{name} {complaint} (DEBUG=1 manage.py secure_auth_keys generate{option} makes one)"
    if is_fine and shared_keys(_entries(signing), _entries(encryption)):
        yield "SECURE_AUTH_ENCRYPTION_KEYS holds a key of SECURE_AUTH_SIGNING_KEYS: a key has one purpose; make another"


def refuse_incomplete(environment: Mapping[str, str]) -> None:
    """Stop the start of a production process that lacks a required value, or has a weak one. Raises Incomplete."""
    complaints = list(_complaints(environment))
    if complaints:
        raise Incomplete("The settings are not complete for production (DEBUG=0):\n  - " + "\n  - ".join(complaints))
