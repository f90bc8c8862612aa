"""Fields that take their own JSON type only."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.deconstruct import deconstructible
from django.utils.functional import cached_property
from rest_framework import serializers

from django_secure_auth.kit.identifiers import MAX_NAME, is_safe_identifier
from django_secure_auth.kit.sanitize import MAX_LENGTH, HTMLRefused, clean_html

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


class SanitizedHTMLField(StrictCharField):
    """HTML of strangers in a serializer, cleaned by `kit.sanitize.clean_html`; a refusal is a validation error."""

    def __init__(self, *, preset: str = "comment", **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAX_LENGTH)
        self.preset = preset
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        try:
            cleaned = clean_html(value, self.preset, self.max_length or MAX_LENGTH)
        except HTMLRefused as refused:
            raise serializers.ValidationError(str(refused), code="html_refused") from None
        if value and not cleaned.strip() and not self.allow_blank:
            self.fail("blank")
        return cleaned


@deconstructible
class CleanableHTML:
    """A validator: refuses what `clean_html` refuses, so that forms and serializers say so before a save raises."""

    def __init__(self, preset: str, max_length: int) -> None:
        self.preset, self.max_length = preset, max_length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CleanableHTML) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.preset, self.max_length))

    def __call__(self, value: str) -> None:
        try:
            clean_html(value, self.preset, self.max_length)
        except HTMLRefused as refused:
            raise ValidationError(str(refused), code="html_refused") from None


class _Clean(str):
    """Cleaned in this save already."""

    __slots__ = ()


if TYPE_CHECKING:  # generic in the stubs only
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class SanitizedTextField(_TextField):
    """A model's column of HTML that is cleaned whenever it is written: save, bulk_create, update, admin.

    Raises HTMLRefused, a ValueError, at a write that was not validated.
    """

    def __init__(self, *args: Any, preset: str = "comment", **kwargs: Any) -> None:
        self.preset = preset
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "preset": self.preset}

    @cached_property
    def validators(self) -> Any:
        return [*super().validators, CleanableHTML(self.preset, self.max_length or MAX_LENGTH)]

    def _cleaned(self, value: Any) -> Any:
        return clean_html(value, self.preset, self.max_length or MAX_LENGTH) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = self._cleaned(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return _Clean(value) if isinstance(value, str) else value

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        value = str(value) if isinstance(value, _Clean) else self._cleaned(value)
        return super().get_db_prep_save(value, connection)
