"""What a note may hold, and what it shows."""

from __future__ import annotations

import bleach
from rest_framework import serializers

from django_secure_auth.strict import StrictModelSerializer, StrictSerializer
from testproject.notes.models import MAX_BODY, Note

_TAGS = {"p", "br", "b", "strong", "i", "em", "u", "ul", "ol", "li", "blockquote", "code", "pre", "a"}
_ATTRIBUTES = {"a": ["href", "title"]}
_PROTOCOLS = {"http", "https", "mailto"}


def clean_body(text: str) -> str:
    """Return `text` without any markup that could run or pretend; here alone, until the package has a field for it."""
    return str(bleach.clean(text, tags=_TAGS, attributes=_ATTRIBUTES, protocols=_PROTOCOLS, strip=True))


class NoteSerializer(StrictModelSerializer[Note]):
    class Meta:
        model = Note
        fields = ("id", "title", "body", "created_at", "is_published")
        read_only_fields = ("created_at", "is_published")

    def validate_body(self, value: str) -> str:
        cleaned = clean_body(value)
        if len(cleaned) > MAX_BODY:  # `&` has become `&amp;`
            raise serializers.ValidationError(f"At most {MAX_BODY} characters, as HTML.")
        return cleaned


class NothingSerializer(StrictSerializer):
    """No body at all, or `{}`."""
