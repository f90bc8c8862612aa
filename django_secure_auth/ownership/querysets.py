"""A queryset that knows whose rows are whose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models

from django_secure_auth.ownership.policy import owned

if TYPE_CHECKING:
    from django_secure_auth.ownership.policy import Caller

_Row = TypeVar("_Row", bound=models.Model)


class OwnedQuerySet(models.QuerySet[_Row]):
    """`Note.objects.owned_by(user)`; as it is, `OwnedQuerySet.as_manager()`, or below a queryset of your own."""

    def owned_by(self, user: Caller) -> Self:
        """The rows that `user` owns by the model's `secure_auth_owner`, by one condition in SQL; none if anonymous.

        Raises ImproperlyConfigured when the model has no rule.
        """
        return owned(self, user)
