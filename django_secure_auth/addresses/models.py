"""The address that is being made an account's at this very moment."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class AddressClaim(models.Model):
    """A lock with a unique key: user models need not have a unique address, and of two at once one must lose.

    The key is a hash of the address; whoever updates the row holds it until the end of the transaction. It stays until
    a purge.
    """

    key = models.CharField(max_length=64, primary_key=True, editable=False)
    taken_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"claim {self.key[:8]}"
