"""What a project gets wrong with the rules for new passwords."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from django_secure_auth.findings import warning
from django_secure_auth.passwords.validators import (
    CommonPasswordValidator,
    CompositionValidator,
    LengthValidator,
    common_passwords_from,
)

_ENOUGH = 3000
"""ASVS 6.2.4."""


def find_weak_rules() -> Iterable[CheckMessage]:
    """W080 and W081, with `--deploy`: rules that let too much pass, or forbid what helps."""
    entries: list[Any] = list(settings.AUTH_PASSWORD_VALIDATORS)
    kinds = [(import_string(entry["NAME"]), entry.get("OPTIONS", {})) for entry in entries]
    length = max(
        (LengthValidator(**options).min_length for kind, options in kinds if kind is LengthValidator), default=0
    )
    has_common = any(kind is CommonPasswordValidator for kind, _ in kinds)
    if has_common and common_passwords_from(length) < _ENOUGH:
        yield warning(
            80,
            f"Of the common passwords only {common_passwords_from(length)} have {length} characters: the list refuses "
            f"next to nothing (ASVS 6.2.4 asks for {_ENOUGH}).",
            "Nobody needs so long a minimum; or check against breached passwords too.",
        )
    if any(kind is CompositionValidator for kind, _ in kinds):
        yield warning(
            81,
            "CompositionValidator asks for kinds of characters: people answer with 'Password1!', which is tried first.",
            "Ask for length instead, unless an older rule binds you (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.5).",
        )
