"""Serializers that refuse what they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


def _is_writable(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    # A hidden field has its value from the server; DRF would let a client believe that it was taken.
    return not field.read_only and not isinstance(field, serializers.HiddenField)


class StrictSerializer(serializers.Serializer[Any]):
    """Unknown, read-only and hidden fields in the input are errors: a typing mistake is told, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            writable = {name for name, field in self.fields.items() if _is_writable(field)}
            unknown = sorted(str(name)[:64] for name in data if name not in writable)
            if unknown:
                raise serializers.ValidationError({name: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)
