"""Related fields of a serializer that find the caller's rows only: a foreign key from outside is no key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rest_framework import serializers
from rest_framework.fields import Field, empty

from django_secure_auth.ownership.policy import owned, rule_of

if TYPE_CHECKING:
    from django_secure_auth.ownership.policy import Caller

AnyField = Field[Any, Any, Any, Any]


def narrow(field: AnyField, user: Caller) -> None:
    """Narrow every writable related field at or below `field`, through nested serializers and lists.

    A foreign object then gets the field's own message for one that does not exist. Models without a rule stay as they
    are: a country is nobody's. The field of the owner itself finds the caller only, and may be left out.
    """
    for related in _related_fields(field):
        # A many=True field is the child of another, which has the name.
        named = related if related.source else related.parent
        if named.source == _owner_field(named.parent):
            _fix_owner(related, user)
        else:
            _narrow(related, user)


def _related_fields(field: AnyField) -> Iterator[Any]:
    if field.read_only:
        return
    if isinstance(field, serializers.Serializer):
        for one in field.fields.values():
            yield from _related_fields(one)
    elif isinstance(field, serializers.RelatedField):
        yield field
    else:
        child = getattr(field, "child", None) or getattr(field, "child_relation", None)
        if child is not None:
            yield from _related_fields(child)


def _owner_field(serializer: Any) -> str | None:
    model = getattr(getattr(serializer, "Meta", None), "model", None)
    rule = rule_of(model)
    return rule.path if rule is not None and rule.is_direct else None


def _narrow(related: Any, user: Caller) -> None:
    everything = related.get_queryset

    def narrowed() -> Any:
        queryset = everything()
        model = getattr(queryset, "model", None)
        return owned(queryset, user) if rule_of(model) is not None else queryset

    # On the field, not in its `queryset`: a subclass with a get_queryset() of its own never reads that.
    related.get_queryset = narrowed


def _fix_owner(related: Any, user: Caller) -> None:
    everything = related.get_queryset
    related.get_queryset = lambda: everything().filter(pk=getattr(user, "pk", None))
    related.allow_null = False
    related.required = False
    if related.default is empty:
        related.default = lambda: user  # so that a unique_together with the owner in it can be judged
