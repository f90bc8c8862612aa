"""Which JSON a serializer's field takes: its own type, in a size that it can hold, and no unknown name.

DRF's fields are made for HTML forms, where everything is text: `"yes"` is true, `1` is true, `"5"` and `5.0` are 5, a
number is a text, an object is a list of its names. In JSON each of these is a mistake or a probe. One table says what
the fields of DRF take; it is asked before DRF is, at every depth, so that generated, declared and nested fields are
judged alike. A field whose class has a `to_internal_value` of its own judges for itself. What JSON cannot hold, such
as a `datetime` from Python code, is left to the field.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from rest_framework import serializers
from rest_framework.fields import Field, _UnvalidatedField

MAX_DIGITS = 100
"""Digits of a number. The longest that a column of common databases holds are 65 (MySQL) and 38 (others' decimals)."""
MAX_INTEGER = 2**63 - 1
"""The largest integer of a column, and of most other languages; a field with a `max_value` of its own may go beyond."""
MAX_FREE_DEPTH = 32
MAX_FREE_MEMBERS = 10_000
"""Bounds of what no field looks into: a JSONField, a ListField or DictField without a child."""

AnyField = Field[Any, Any, Any, Any]
Complaint = list[str] | dict[Any, Any]
"""Messages, in the shape that DRF gives them: a list for a field, a dict by name or index for what holds others."""

Rule = Callable[[Any, Any], Complaint | None]

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_OUT_OF_RANGE = "Out of range."
# In this order: in Python a boolean is an integer.
_TYPES: tuple[tuple[type[Any], str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "list"),
    (dict, "object"),
    (Mapping, "object"),
)


def judge(value: Any, *, max_depth: int, max_members: int) -> None:
    """Raise ValueError for JSON that is nested too deep, has too many members, or holds what nobody can store.

    NUL is refused by PostgreSQL, a lone surrogate by every encoder, an infinite number by every JSON column: each would
    be a 500 later. `max_members` counts names and items over the whole value.
    """
    members, waiting = 0, [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > max_depth:
            raise ValueError("too deep")
        if isinstance(item, str):
            if _UNSTORABLE.search(item):
                raise ValueError("NUL or lone surrogate")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("not a number of JSON")
        elif isinstance(item, int):
            if abs(item) >= 10**MAX_DIGITS:
                raise ValueError("too large a number")
        elif isinstance(item, dict | list):
            members += len(item)
            if members > max_members:
                raise ValueError("too many members")
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            waiting += [(one, depth + 1) for one in inner]


def refusals(serializer: serializers.Serializer[Any], data: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what is wrong with the input of a serializer before any field has read it, by name."""
    writable = {name: field for name, field in serializer.fields.items() if _is_writable(field)}
    found: dict[str, Any] = {str(name)[:64]: ["Unknown field."] for name in data if name not in writable}
    if hasattr(data, "getlist"):  # a form, in which all is text
        return found
    for name, field in writable.items():
        complaint = complaint_about(field, data.get(name))
        if complaint:
            found[name] = complaint
    return found


def complaint_about(field: AnyField, value: Any) -> Complaint | None:
    """Return what is wrong with a value for a field, or None: nothing, or nothing that this table can tell."""
    if _type_of(value) is None:
        return None
    its_class: Any = type(field)
    rule = _rule_for(its_class)
    return rule(field, value) if rule else None


@lru_cache(maxsize=1024)  # kinds of fields, of which a project has some dozens
def _rule_for(field_class: Any) -> Rule | None:
    for kind, rule in _RULES:
        if issubclass(field_class, kind):
            return rule if field_class.to_internal_value is kind.to_internal_value else None
    return None


def _is_writable(field: AnyField) -> bool:
    # A hidden field has its value from the server; DRF would let a client believe that it was taken.
    return not field.read_only and not isinstance(field, serializers.HiddenField)


def _type_of(value: Any) -> str | None:
    return next((name for kind, name in _TYPES if isinstance(value, kind)), None)


# --- rules -------------------------------------------------------------------------------------------


def _only(message: str, *types: str, then: Rule | None = None) -> Rule:
    def rule(field: Any, value: Any) -> Complaint | None:
        if _type_of(value) not in types:
            return [message]
        return then(field, value) if then else None

    return rule


def _integer(field: Any, value: int) -> Complaint | None:
    # Where the field has a bound of its own, it says so itself.
    is_too_high = field.max_value is None and value > MAX_INTEGER
    is_too_low = field.min_value is None and value < -MAX_INTEGER - 1
    return [_OUT_OF_RANGE] if is_too_high or is_too_low else None


def _number(field: Any, value: float) -> Complaint | None:
    is_finite = abs(value) < 10**MAX_DIGITS if isinstance(value, int) else math.isfinite(value)
    return None if is_finite else [_OUT_OF_RANGE]


def _decimal(field: Any, value: Any) -> Complaint | None:
    if isinstance(value, str) and not (len(value) <= MAX_DIGITS and _DECIMAL.fullmatch(value)):
        return ["Must be a number, or a string that holds one."]
    return (None if isinstance(value, str) else _number(field, value)) or _read(field, value)


def _read(field: Any, value: Any) -> Complaint | None:
    """Let the field read: what Python or a column cannot hold is an error of arithmetic, which DRF lets through."""
    try:
        result = field.to_internal_value(value)
        if isinstance(result, datetime.datetime) and result.tzinfo is not None:
            result.astimezone(datetime.UTC)
        if isinstance(result, datetime.timedelta) and abs(result // datetime.timedelta(microseconds=1)) > MAX_INTEGER:
            return [_OUT_OF_RANGE]
    except ArithmeticError:
        return [_OUT_OF_RANGE]
    except serializers.ValidationError:
        return None  # said by the field itself, in its turn
    return None


def _uuid(field: Any, value: str) -> Complaint | None:
    # Python takes braces, "urn:", hyphens anywhere and underscores: many names for one thing.
    return None if _UUID.fullmatch(value) else [str(serializers.UUIDField.default_error_messages["invalid"])]


def _choice(field: Any, value: Any) -> Complaint | None:
    values = [choice.value if isinstance(choice, Enum) else choice for choice in field.choices]
    types = {_type_of(choice) for choice in values} | ({"string"} if field.allow_blank else set())
    return None if _type_of(value) in types else ["Must be one of the choices, in its own type."]


def _choices(field: Any, value: list[Any]) -> Complaint | None:
    return {index: found for index, item in enumerate(value) if (found := _choice(field, item))} or None


def _items(child: AnyField, value: list[Any]) -> Complaint | None:
    return {index: found for index, item in enumerate(value) if (found := complaint_about(child, item))} or None


def _list(field: Any, value: list[Any]) -> Complaint | None:
    return _free(field, value) if _is_free(field.child) else _items(field.child, value)


def _references(field: Any, value: list[Any]) -> Complaint | None:
    return _items(field.child_relation, value)


def _object(field: Any, value: Mapping[Any, Any]) -> Complaint | None:
    if _is_free(field.child):
        return _free(field, value)
    return {name: found for name, item in value.items() if (found := complaint_about(field.child, item))} or None


def _is_free(child: AnyField) -> bool:
    return isinstance(child, _UnvalidatedField)


def _free(field: Any, value: Any) -> Complaint | None:
    try:
        judge(value, max_depth=MAX_FREE_DEPTH, max_members=MAX_FREE_MEMBERS)
    except ValueError as reason:
        return [f"Cannot be stored: {reason}."]
    return None


def _by_column(column: models.Field[Any, Any] | None, value: Any) -> Complaint | None:
    """A reference has the type of the column that it is looked up by."""
    while column is not None and column.remote_field:
        column = column.target_field  # type: ignore[attr-defined]  # a foreign key as primary key
    if isinstance(column, models.IntegerField):
        wrong = _type_of(value) != "integer" or abs(value) > MAX_INTEGER
        return ["Must be an integer."] if wrong else None
    if _type_of(value) not in {"string", "integer"} or (column is not None and _type_of(value) != "string"):
        return ["Must be a string."]
    return _uuid(None, value) if isinstance(column, models.UUIDField) else None


def _primary_key(field: Any, value: Any) -> Complaint | None:
    if field.pk_field is not None:
        return complaint_about(field.pk_field, value)
    queryset = field.get_queryset()
    return _by_column(queryset.model._meta.pk, value) if queryset is not None else None


def _slug(field: Any, value: Any) -> Complaint | None:
    try:
        return _by_column(field.get_queryset().model._meta.get_field(field.slug_field), value)
    except FieldDoesNotExist:  # a path, or an annotation
        return _by_column(None, value)


def _hyperlink(field: Any, value: str) -> Complaint | None:
    try:
        urlsplit(value)
    except ValueError:  # "http://[": DRF lets it through, as a 500
        return [str(field.error_messages["no_match"])]
    return None


def _nested(field: Any, value: Mapping[Any, Any]) -> Complaint | None:
    return refusals(field, value) or None


_A_STRING = "Must be a string."
_A_LIST = "Must be a list."
_AN_OBJECT = "Must be an object."

# The first line that fits: a subclass stands before its parent where DRF gives it an input of its own.
_RULES: tuple[tuple[type[Any], Rule], ...] = (
    (serializers.BooleanField, _only("Must be true or false.", "boolean")),
    (serializers.IPAddressField, _only(_A_STRING, "string")),
    (serializers.CharField, _only(_A_STRING, "string")),
    (serializers.UUIDField, _only(_A_STRING, "string", then=_uuid)),
    (serializers.IntegerField, _only("Must be an integer.", "integer", then=_integer)),
    (serializers.FloatField, _only("Must be a number.", "integer", "number", then=_number)),
    (
        serializers.DecimalField,
        _only("Must be a number, or a string that holds one.", "string", "integer", "number", then=_decimal),
    ),
    (serializers.DateTimeField, _only(_A_STRING, "string", then=_read)),
    (serializers.DateField, _only(_A_STRING, "string")),
    (serializers.TimeField, _only(_A_STRING, "string")),
    (serializers.DurationField, _only(_A_STRING, "string", then=_read)),
    (serializers.MultipleChoiceField, _only(_A_LIST, "list", then=_choices)),
    (serializers.ChoiceField, _choice),
    (serializers.ListField, _only(_A_LIST, "list", then=_list)),
    (serializers.DictField, _only(_AN_OBJECT, "object", then=_object)),
    (serializers.JSONField, _free),
    (_UnvalidatedField, _free),
    (
        serializers.ManyRelatedField,
        _only(_A_LIST, "list", then=_references),
    ),
    (serializers.PrimaryKeyRelatedField, _primary_key),
    (serializers.SlugRelatedField, _slug),
    (serializers.HyperlinkedRelatedField, _only(_A_STRING, "string", then=_hyperlink)),
    (serializers.ListSerializer, _only(_A_LIST, "list", then=_list)),
    (serializers.Serializer, _only(_AN_OBJECT, "object", then=_nested)),
)
