"""The body of a key that is made or changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from django_secure_auth.apikeys import policy
from django_secure_auth.strict import StrictSerializer
from django_secure_auth.strict.fields import StrictCharField

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class MomentField(serializers.Field[datetime, Any, Any, Any]):
    """A moment of RFC 3339, with its offset: without one, two readers would disagree by hours."""

    default_error_messages = {"invalid": "Must be a moment such as 2030-01-31T12:00:00Z."}

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or not _RFC3339.fullmatch(data):
            self.fail("invalid")
        try:
            return datetime.fromisoformat(data).astimezone(UTC)
        except (ValueError, OverflowError):  # the 31st of February; year 1 or 9999 with an offset
            self.fail("invalid")


class TextListField(serializers.Field[list[str], Any, Any, Any]):
    """A JSON list of strings, of at most `policy.MAX_ENTRY` characters each."""

    default_error_messages = {
        "invalid": "Must be a list of strings.",
        "max_length": f"No entry has more than {policy.MAX_ENTRY} characters.",
    }

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not all(isinstance(entry, str) for entry in data):
            self.fail("invalid")
        if any(len(entry) > policy.MAX_ENTRY for entry in data):
            self.fail("max_length")
        return data


def _judged(rule: Callable[[], Any]) -> Any:
    try:
        return rule()
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from None


class APIKeySerializer(StrictSerializer):
    """Context `user`: who owns the key. `instance`: the key, when it is changed."""

    name = StrictCharField(max_length=policy.MAX_NAME)
    scopes = TextListField(required=False)
    expires_at = MomentField(required=False)
    allowed_networks = TextListField(required=False)
    rate_limit = StrictCharField(required=False, allow_null=True, max_length=32)

    def validate_name(self, value: str) -> str:
        return str(_judged(lambda: policy.clean_name(value)))

    def validate_scopes(self, value: list[str]) -> list[str]:
        scopes: list[str] = _judged(lambda: policy.clean_scopes(value))
        refused = policy.refused_scopes(self.context["user"], scopes)
        if refused:
            raise serializers.ValidationError([f"You may not give the scope {scope!r}." for scope in refused])
        return scopes

    def validate_expires_at(self, value: datetime) -> Any:
        made_at = self.instance.created_at if self.instance is not None else timezone.now()
        return _judged(lambda: policy.clean_expiry(value, made_at=made_at))

    def validate_allowed_networks(self, value: list[str]) -> Any:
        return _judged(lambda: policy.clean_networks(value))

    def validate_rate_limit(self, value: str | None) -> Any:
        return _judged(lambda: policy.clean_rate(value))
