"""What a key may be called, hold and reach, and for how long. Each rule returns the value to store or raises ValueError
with words for whoever made the key. No writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from django_secure_auth.conf import conf
from django_secure_auth.kit.apikeys import is_scope
from django_secure_auth.kit.client_ip import parse_network
from django_secure_auth.kit.rate import Rate

LIFETIME = timedelta(days=365)
MAX_LIFETIME = timedelta(days=366)
"""One year, also one with a leap day: a key that nobody has to renew is one that nobody remembers (ASVS 13.2.1)."""
MAX_NAME = 100
MAX_ENTRIES = 50
MAX_ENTRY = 100
"""Characters of a scope or a network: longer than any of either."""
"""Scopes, and networks: they are read with every request."""


def clean_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"1 to {MAX_NAME} printable characters.")
    return name


def _entries(values: Iterable[str], what: str) -> list[str]:
    entries = [] if isinstance(values, str) else list(values)
    if isinstance(values, str) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"A list of {what}.")
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"At most {MAX_ENTRIES} {what}.")
    return entries


def clean_scopes(scopes: Iterable[str]) -> list[str]:
    entries = _entries(scopes, "scopes")
    for scope in entries:
        if not is_scope(scope):
            raise ValueError(f"{scope[:64]!r} is no scope; write for example 'reports:read'.")
    return sorted(set(entries))


def clean_networks(networks: Iterable[str]) -> list[str]:
    """Networks in canonical form, each once; an empty list is every address."""
    found: dict[str, None] = {}
    for network in _entries(networks, "networks"):
        try:
            found[str(parse_network(network))] = None
        except ValueError:
            raise ValueError(f"{network[:64]!r} is no network; write for example '192.0.2.0/24'.") from None
    return list(found)


def clean_rate(rate: str | None) -> str:
    """A rate such as `1000/hour`; None or an empty text is none."""
    if not rate:
        return ""
    try:
        Rate.parse(rate)
    except ValueError:
        raise ValueError(f"{rate[:32]!r} is no rate; write for example '1000/hour'.") from None
    return rate


def clean_expiry(moment: datetime | None, *, made_at: datetime) -> datetime:
    """A moment to come, at most a year after the key was made; None is `LIFETIME` after that."""
    if moment is None:
        return made_at + LIFETIME
    if timezone.is_naive(moment):
        raise ValueError("A moment with a time zone.")
    if not timezone.now() < moment <= made_at + MAX_LIFETIME:
        raise ValueError("A moment to come, at most one year after the key was made.")
    return moment


def refused_scopes(user: AbstractBaseUser, scopes: Iterable[str]) -> list[str]:
    """Return those scopes that this user may not give to a key of their own.

    A view may let a scope pass without asking for its owner's permissions: who could choose scopes freely could then
    give themselves what nobody gave them (ASVS 10.4.11).
    """
    known = conf.API_KEY_SCOPES
    owner: Any = user
    return [scope for scope in scopes if scope not in known or not _may_give(owner, known[scope])]


def _may_give(user: Any, permission: str | None) -> bool:
    if permission is None:
        return True
    has_perm = getattr(user, "has_perm", None)  # a user model may come without permissions
    return has_perm is not None and bool(has_perm(permission))
