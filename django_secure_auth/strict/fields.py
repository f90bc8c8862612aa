"""Fields that take their own JSON type only."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers

from django_secure_auth.kit.identifiers import MAX_NAME, is_safe_identifier

MAX_PASSWORD_POINTS = 256


class StrictCharField(serializers.CharField):
    """A JSON string, verbatim: no number becomes text, no blank is trimmed."""

    default_error_messages = {"invalid": "Must be a string."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictBooleanField(serializers.BooleanField):
    """`true` or `false`; neither `"yes"` nor `1`."""

    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class PasswordField(StrictCharField):
    """A password as typed, in NFC; bounded, so that nobody makes us hash a megabyte.

    Length counts code points (NIST SP 800-63B-4 §3.1.1.2); 256 of them are at most 1024 bytes of UTF-8.
    """

    default_error_messages = {"too_long": f"At most {MAX_PASSWORD_POINTS} characters."}

    def to_internal_value(self, data: Any) -> str:
        value = unicodedata.normalize("NFC", super().to_internal_value(data))
        if len(value) > MAX_PASSWORD_POINTS:
            self.fail("too_long")
        return value


def validate_identifier(value: str) -> None:
    """Raise Django's ValidationError unless `value` is a plain name (`kit.identifiers.is_safe_identifier`).

    For a model's field: `name = models.CharField(max_length=64, validators=[validate_identifier])`.
    """
    if not is_safe_identifier(value):
        raise ValidationError(
            f"At most {MAX_NAME} ASCII letters and digits, with single - or _ between them; a letter comes first.",
            code="invalid_identifier",
        )


class IdentifierField(StrictCharField):
    """A plain name in a serializer, such as that of a role, a tag or a file's key."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAX_NAME)
        super().__init__(**kwargs)
        self.validators.append(validate_identifier)
