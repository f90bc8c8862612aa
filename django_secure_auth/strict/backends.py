"""A filter backend of DRF that orders by what the view declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request
from rest_framework.views import APIView

from django_secure_auth.strict.querysets import declared_columns, invalid_column, is_among


class SafeOrderingFilter(OrderingFilter):
    """DRF's `OrderingFilter`, for the columns in the view's `ordering_fields` only.

    DRF's own orders by every readable field when none is declared, and drops a name that it does not know. Here a
    view without `ordering_fields`, or with "__all__", raises ImproperlyConfigured at its first request, and an unknown
    name is 400 `validation_error`, which names the valid ones. The primary key breaks ties, so that no row is on two
    pages.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        self.get_valid_fields(queryset, view)  # also when nobody asks for an order: the mistake shows at once
        return super().filter_queryset(request, queryset, view)

    def get_valid_fields(
        self, queryset: QuerySet[Any], view: APIView, context: Mapping[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        declared = getattr(view, "ordering_fields", self.ordering_fields)
        labels: dict[Any, Any] = {}
        if isinstance(declared, list | tuple):  # of names, or of pairs with a label
            labels = dict([tuple(one) if isinstance(one, list | tuple) else (one, one) for one in declared])
            declared = list(labels)
        names = declared_columns(declared, where=f"{type(view).__name__}.ordering_fields")
        return [(name, labels.get(name, name)) for name in names]

    def remove_invalid_fields(
        self, queryset: QuerySet[Any], fields: Iterable[str], view: APIView, request: Request
    ) -> list[str]:
        names = list(fields)
        columns = [name for name, _ in self.get_valid_fields(queryset, view)]
        problems = [invalid_column(name, columns) for name in names if not is_among(name, columns)]
        if not problems and len({name.removeprefix("-") for name in names}) != len(names):
            problems = ["Name each column once."]
        if len(request.query_params.getlist(self.ordering_param)) > 1:
            problems = ["Give the order once."]
        if problems:
            raise ValidationError({self.ordering_param: problems[:1]})
        return names

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> Sequence[Any] | None:
        ordering = super().get_ordering(request, queryset, view)
        if not ordering:
            return ordering
        key = queryset.model._meta.pk.name
        named = {str(term).removeprefix("-") for term in ordering}
        # In the direction of the last column: an index on it can still be read in one go.
        tie_breaker = "-pk" if str(ordering[-1]).startswith("-") else "pk"
        return ordering if named & {"pk", key} else [*ordering, tie_breaker]
