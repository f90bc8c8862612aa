"""STAND-IN until roles exist: groups of Django's by their names."""

from __future__ import annotations

from typing import Any


def roles_of(user: Any, obj: Any = None) -> frozenset[str]:
    return frozenset(user.groups.values_list("name", flat=True))


def has_role(user: Any, role: str, obj: Any = None) -> bool:
    return role in roles_of(user, obj)
