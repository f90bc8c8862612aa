"""The address that is being made an account's at this very moment."""

from __future__ import annotations

from django.db import models

from django_secure_auth.kit.identifiers import MAX_IDENTIFIER


class AddressClaim(models.Model):
    """A lock with a unique key: user models need not have a unique address, and of two at once one must lose.

    The row is inserted and deleted in the transaction that makes the account, so that no committed row is ever left.
    """

    address = models.CharField(max_length=MAX_IDENTIFIER, primary_key=True, editable=False)

    def __str__(self) -> str:
        return self.address
