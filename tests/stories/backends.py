"""Authentication backends of hosts with rules, or defects, of their own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend


class RefusingBackend(ModelBackend):
    def authenticate(self, request: Any, **credentials: Any) -> Any:
        return None


class MalloryBackend(ModelBackend):
    """Answers with another account than the one that was named."""

    def authenticate(self, request: Any, **credentials: Any) -> Any:
        model = get_user_model()
        return model._default_manager.get(**{model.get_email_field_name(): "mallory@example.com"})


class OwnBackend(ModelBackend):
    """What a host with one backend of its own has: Django's is not configured at all."""


class SilentBackend(BaseBackend):
    """Grants permissions only, as many do: it neither signs in nor knows anybody."""
