"""Ordering by columns that were declared, and by no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import models

_Row = TypeVar("_Row", bound=models.Model)


def declared_columns(names: Any, *, where: str) -> tuple[str, ...]:
    """Return the columns that `where` declares.

    Raises ImproperlyConfigured for no column, for "__all__", and for what is no name, such as "?" or "-title".
    """
    if not isinstance(names, Iterable) or isinstance(names, str):
        raise ImproperlyConfigured(f"{where} must be a list or tuple of column names, not {names!r}.")
    columns = tuple(names)
    if not columns or not all(isinstance(name, str) and name.isidentifier() for name in columns):
        raise ImproperlyConfigured(f"{where} must name at least one column, and nothing but columns: {columns!r}.")
    return columns


def invalid_column(name: Any, columns: Iterable[str]) -> str:
    """Return the message that names the valid columns; a long name is not echoed whole."""
    column = name.removeprefix("-")[:64] if isinstance(name, str) else name
    return f"Invalid order_by column: {column!r}. Valid columns are: {', '.join(columns)}"


def is_among(name: Any, columns: Iterable[str]) -> bool:
    """Tell whether a column, or a column with one `-` before it, is declared."""
    return isinstance(name, str) and name.removeprefix("-") in columns


class SafeOrderingQuerySet(models.QuerySet[_Row]):
    """A queryset whose `safe_order_by()` knows the columns of `safe_ordering` only.

    `order_by()` follows relations and takes `?` and expressions: with a name from outside, `owner__password` tells a
    hash digit by digit, by where rows move, and `?` sorts the table at random.
    """

    safe_ordering: ClassVar[Sequence[str]] = ()

    def safe_order_by(self, *names: str) -> Self:
        """Order by declared columns; `-` before one turns it round.

        Raises ValueError, which names the valid columns, for anything else.
        """
        columns = declared_columns(self.safe_ordering, where=f"{type(self).__name__}.safe_ordering")
        for name in names:
            if not is_among(name, columns):
                raise ValueError(invalid_column(name, columns))
        return self.order_by(*names)
