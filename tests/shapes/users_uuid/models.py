"""A user as a new project makes it: our own abstract model, as it is."""

from __future__ import annotations

from django_secure_auth.accounts.models import AbstractEmailUser


class User(AbstractEmailUser):
    pass
