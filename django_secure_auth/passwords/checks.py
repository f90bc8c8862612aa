"""What a project gets wrong with the rules for new passwords."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.db import DatabaseError, router
from django.db.models import Count
from django.db.models.functions import Lower
from django.utils.module_loading import import_string

from django_secure_auth.conf import conf
from django_secure_auth.findings import warning
from django_secure_auth.passwords import breached
from django_secure_auth.passwords.validators import (
    CommonPasswordValidator,
    CompositionValidator,
    LengthValidator,
    common_passwords_from,
)

_NAMED_AT_MOST = 5
_ENOUGH = 3000
"""ASVS 6.2.4."""


def _why_no_breaches() -> str | None:
    if conf.BREACHED_PASSWORDS_FILE is None and not conf.BREACHED_PASSWORDS_API:
        return None
    try:
        breached.require_library()
        if conf.BREACHED_PASSWORDS_FILE is not None:
            breached.load(conf.BREACHED_PASSWORDS_FILE)
    except (ImportError, OSError, ValueError) as error:
        return str(error)
    return None


def find_weak_rules() -> Iterable[CheckMessage]:
    """W080, W081 and W083, with `--deploy`: rules that let too much pass, or forbid what helps."""
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
    if (complaint := _why_no_breaches()) is not None:
        yield warning(
            83,
            f"Breached passwords cannot be looked up: {complaint}. New ones pass unchecked.",
            "Make the file with `manage.py secure_auth_breached build`; install django-secure-auth[breached].",
        )
    if any(kind is CompositionValidator for kind, _ in kinds):
        yield warning(
            81,
            "CompositionValidator asks for kinds of characters: people answer with 'Password1!', which is tried first.",
            "Ask for length instead, unless an older rule binds you (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.5).",
        )


def find_twins(using: str) -> Iterable[CheckMessage]:
    """W082, with `check --database`: accounts whose addresses differ in case only. Names their keys, no address."""
    model = get_user_model()
    name = model.get_email_field_name()
    addresses = model._base_manager.using(using).annotate(folded=Lower(name)).exclude(folded__in=("", None)).order_by()
    shared = addresses.values("folded").annotate(accounts=Count("pk")).filter(accounts__gt=1)
    try:
        count = shared.count()
        first = addresses.filter(folded__in=[row["folded"] for row in shared[:_NAMED_AT_MOST]])
        keys = ", ".join(str(key) for key in first.order_by("folded", "pk").values_list("pk", flat=True))
    except DatabaseError:  # not migrated yet
        return
    if count:
        more = ", …" if count > _NAMED_AT_MOST else ""
        yield warning(
            82,
            f"{count} addresses have several accounts, which differ in case only: {keys}{more}.",
            "Only whoever types the exact spelling signs in. Merge the accounts, or give one another address.",
        )


def check_twins(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for twins where the users are, if `check --database` names that database."""
    using = router.db_for_read(get_user_model())
    return list(find_twins(using)) if databases and using in databases else []
