"""Serializers that refuse what they do not know, and what is not of a field's own JSON type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from rest_framework import serializers

from django_secure_auth.strict.policy import refusals

_Row = TypeVar("_Row", bound=models.Model)


class StrictSerializer(serializers.Serializer[Any]):
    """Unknown, read-only and hidden fields, and values of another JSON type, are errors: told, not ignored.

    It holds for everything below it as well: `many=True`, lists, and nested serializers, strict or not. What a form
    sends is text; there only the names are judged.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            refused = refusals(self, data)
            if refused:
                raise serializers.ValidationError(refused)
        return super().to_internal_value(data)


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer[_Row]):
    """DRF's `ModelSerializer`, as strict, with fields that are named.

    Raises ImproperlyConfigured, when the class is made, for `fields = "__all__"` and for `exclude`: a column that is
    added tomorrow, such as `is_staff`, would be readable and writable by every client (OWASP API3:2023).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        meta = getattr(cls, "Meta", None)
        if getattr(meta, "fields", None) == serializers.ALL_FIELDS or getattr(meta, "exclude", None) is not None:
            raise ImproperlyConfigured(f"{cls.__name__}.Meta.fields must name the fields one by one.")
