"""An e-mail address as the name of an account, in one canonical form."""

from __future__ import annotations

from typing import Any

from django.db import models

from django_secure_auth.kit.identifiers import canonical_identifier


class CanonicalEmailField(models.EmailField):  # type: ignore[type-arg]  # generic in the stubs only
    """An address in its one canonical form, in the table and in every look-up.

    `filter(email=" Ana@Example.COM")` finds `ana@example.com` by the unique index.
    """

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return canonical_identifier(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return self.to_python(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = self.to_python(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return value
