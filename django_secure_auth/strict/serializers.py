"""Serializers that refuse what they do not know, and what is not of a field's own JSON type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

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
    """DRF's `ModelSerializer`, as strict.

    Name the fields: with `fields = "__all__"`, clients may write the columns of tomorrow too.
    """
