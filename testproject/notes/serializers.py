"""What a note may hold, and what it shows."""

from __future__ import annotations

from django_secure_auth.strict import StrictModelSerializer, StrictSerializer
from django_secure_auth.strict.fields import SanitizedHTMLField
from testproject.notes.models import MAX_BODY, Note


class NoteSerializer(StrictModelSerializer[Note]):
    body = SanitizedHTMLField(max_length=MAX_BODY, required=False, allow_blank=True)

    class Meta:
        model = Note
        fields = ("id", "title", "body", "created_at", "is_published")
        read_only_fields = ("created_at", "is_published")


class NothingSerializer(StrictSerializer):
    """No body at all, or `{}`."""
