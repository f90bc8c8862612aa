"""The rule: a model says once, in `secure_auth_owner`, which way leads from a row to the user who owns it.

Queryset, object permission, serializers' related fields, creation and the admin are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ObjectDoesNotExist
from django.db import models

if TYPE_CHECKING:  # a host's models import this module before those of its apps can be loaded
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    Caller = AbstractBaseUser | AnonymousUser | None

ATTRIBUTE = "secure_auth_owner"

_Rows = TypeVar("_Rows", bound="models.QuerySet[Any]")


@dataclass(frozen=True)
class Rule:
    """A path such as `project__owner`, and the foreign keys that it goes through; the last one leads to the user."""

    path: str
    keys: tuple[models.ForeignKey[Any, Any], ...]

    @property
    def is_direct(self) -> bool:
        return len(self.keys) == 1

    @property
    def parents(self) -> str:
        """The path without its last step: the rows between this one and the user."""
        return "__".join(key.name for key in self.keys[:-1])


def rule_of(model: Any) -> Rule | None:
    """Return the rule of a model, or None when it has none: nobody's rows, or everybody's. What is no model has none.

    Raises ImproperlyConfigured when its path is wrong; `secure_auth.E030` says so at the start.
    """
    path = getattr(model, ATTRIBUTE, None)
    return None if path is None else _resolve(model, str(path))


def require_rule(model: type[models.Model]) -> Rule:
    """The same, where a model without a rule is a mistake: it must not pass for one that anybody may read."""
    rule = rule_of(model)
    if rule is None:
        raise ImproperlyConfigured(
            f'{model._meta.label} does not say who owns its rows. Write: {ATTRIBUTE} = "owner" in the class.'
        )
    return rule


@cache
def _resolve(model: type[models.Model], path: str) -> Rule:
    where = f"{model._meta.label}.{ATTRIBUTE} is {path!r}, but"
    at: Any = model
    keys: list[models.ForeignKey[Any, Any]] = []
    for name in path.split("__"):
        try:
            key = at._meta.get_field(name)
        except FieldDoesNotExist:
            raise ImproperlyConfigured(f"{where} {at._meta.label} has no field {name!r}.") from None
        # One owner at most, and the same for a query and for an object: a relation to many has neither.
        if not isinstance(key, models.ForeignKey) or key.name != name:
            raise ImproperlyConfigured(f"{where} {at._meta.label}.{name} is no foreign key or one-to-one field.")
        keys.append(key)
        at = key.related_model
    if at._meta.concrete_model is not get_user_model()._meta.concrete_model:
        raise ImproperlyConfigured(f"{where} it ends at {at._meta.label}, not at the user model.")
    return Rule(path, tuple(keys))


def is_somebody(user: Caller) -> bool:
    """Tell whether the caller can own anything: a user who is signed in and has been saved."""
    return user is not None and user.is_authenticated and user.pk is not None


def owned(queryset: _Rows, user: Caller) -> _Rows:
    """Return the rows that `user` owns, by one condition in SQL; none for an anonymous one.

    Raises ImproperlyConfigured for a model without a rule.
    """
    rule = require_rule(queryset.model)
    return queryset.filter(**{rule.path: user}) if is_somebody(user) else queryset.none()


def is_owner(user: Caller, row: models.Model) -> bool:
    """Tell whether `user` owns `row`: exactly when `owned()` would find it.

    Asks the database for parents that are not loaded yet, never for the user. Raises ImproperlyConfigured for a model
    without a rule.
    """
    rule = require_rule(type(row))
    if not is_somebody(user):
        return False
    at: Any = row
    for key in rule.keys[:-1]:
        try:
            at = getattr(at, key.name)
        except ObjectDoesNotExist:  # a dangling key, or a row that has no parent yet
            return False
        if at is None:
            return False
    last = rule.keys[-1]
    value, target = getattr(at, last.attname), last.target_field
    return value is not None and bool(target.to_python(value) == getattr(user, target.attname))
