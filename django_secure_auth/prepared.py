"""Statements that Django compiles once for a connection, and that run with other values each time.

Building and compiling the same query costs several times as much as running it: on the path of every request,
sign-in and refresh that was most of the time. The SQL, the form of each value and the converters of each column
are Django's own, from the queryset that a caller declares with `Param` in the place of what changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import signals
from django.db.models.expressions import Expression
from django.db.models.lookups import IExact
from django.db.models.sql import InsertQuery, UpdateQuery

M = TypeVar("M", bound=models.Model)
C = TypeVar("C")

_KEPT = "_secure_auth_prepared"


class Param(Expression):
    """A value that is named now and given later, in the form in which the database takes `model`'s `field`."""

    def __init__(self, name: str, model: type[models.Model], field: str) -> None:
        super().__init__(output_field=cast("models.Field[Any, Any]", model._meta.get_field(field)))
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]

    def bind(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.output_field.get_db_prep_save(value, connection=connection)


class _Typed(Param):
    """A value that stands behind `LIKE` on some databases: what would be a wildcard there is escaped."""

    def bind(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return connection.ops.prep_for_iexact_query(super().bind(value, connection))


class _SameInAnyCase(IExact):
    def process_rhs(self, *args: Any) -> Any:
        return super(IExact, self).process_rhs(*args)  # IExact escapes here what `_Typed` escapes when it is bound


def same_in_any_case(name: str, model: type[models.Model], field: str) -> Any:
    """Return the condition `field__iexact=Param(name, …)`."""
    return _SameInAnyCase(models.F(field), _Typed(name, model, field))


class _Prepared(ABC, Generic[C]):
    """What is compiled is kept for each connection: threads have their own, and databases differ.

    On the connection itself, since converters hold it: kept elsewhere, they would keep the connection of every
    thread that has ended.
    """

    def _for(self, connection: BaseDatabaseWrapper, rows: int = 1) -> C:
        kept: dict[tuple[_Prepared[C], int], C] = connection.__dict__.setdefault(_KEPT, {})
        found = kept.get((self, rows))
        if found is None:
            found = kept[self, rows] = self._compile(connection, rows)
        return found

    @abstractmethod
    def _compile(self, connection: BaseDatabaseWrapper, rows: int) -> C:
        """Return the statement and what its values are bound to."""


def _bind(params: Sequence[Any], values: dict[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
    return [param.bind(values[param.name], connection) if isinstance(param, Param) else param for param in params]


_Select = tuple[str, list[Any], list[tuple[int, list[Callable[..., Any]], Any]]]


class PreparedSelect(_Prepared[_Select]):
    """A query of `values_list`, read from where it is written: a replica that lags would lie."""

    def __init__(self, queryset: Callable[[], models.QuerySet[Any, Any]]) -> None:
        self._queryset = queryset
        self._model: type[models.Model] | None = None

    def _compile(self, connection: BaseDatabaseWrapper, rows: int) -> _Select:
        compiler = self._queryset().query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        converters = compiler.get_converters([column for column, _, _ in compiler.select])
        return sql, list(params), [(position, *how) for position, how in converters.items()]

    def rows(self, **values: Any) -> list[list[Any]]:
        """Run the query and return its rows, each a list of its columns' Python values."""
        if self._model is None:
            self._model = self._queryset().model
        connection: Any = connections[router.db_for_write(self._model)]
        sql, params, converters = self._for(connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, _bind(params, values, connection))
            rows = [list(row) for row in cursor.fetchall()]
        for row in rows:
            for position, convert_all, expression in converters:
                for convert in convert_all:
                    row[position] = convert(row[position], expression, connection)
        return rows


class PreparedUpdate(_Prepared[tuple[str, list[Any]]]):
    """One conditional UPDATE: `rows` says which, `changes` says what."""

    def __init__(self, rows: Callable[[], models.QuerySet[Any, Any]], changes: Callable[[], dict[str, Any]]) -> None:
        self._chosen, self._changes = rows, changes
        self._model: type[models.Model] | None = None

    def _compile(self, connection: BaseDatabaseWrapper, rows: int) -> tuple[str, list[Any]]:
        query: Any = self._chosen().query.chain(UpdateQuery)
        query.add_update_values(self._changes())
        sql, params = query.get_compiler(connection=connection).as_sql()
        return sql, list(params)

    def run(self, **values: Any) -> int:
        """Run the statement and return how many rows it has changed."""
        if self._model is None:
            self._model = self._chosen().model
        connection: Any = connections[router.db_for_write(self._model)]
        sql, params = self._for(connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, _bind(params, values, connection))
            return int(cursor.rowcount)


class PreparedInsert(_Prepared[tuple[str, list[Any]]], Generic[M]):
    """`instance.save(force_insert=True)` for a row whose number in the table nobody asks for afterwards.

    A column of `computed` is stored as the database works it out, from what is handed the row's values by their names.
    """

    def __init__(self, model: type[M], **computed: Callable[[Callable[[str], Any]], Any]) -> None:
        self._model = model
        self._computed = computed

    def _fields(self) -> Iterator[models.Field[Any, Any]]:
        return (field for field in self._model._meta.concrete_fields if not isinstance(field, models.AutoField))

    def _compile(self, connection: BaseDatabaseWrapper, rows: int) -> tuple[str, list[Any]]:
        fields = list(self._fields())
        samples = []
        for row in range(rows):
            values: dict[str, Any] = {
                one.attname: Param(f"{one.attname} {row}", self._model, one.name) for one in fields
            }
            values |= {name: made(values.__getitem__) for name, made in self._computed.items()}
            samples.append(self._model(**values))
        query: Any = InsertQuery(self._model)
        query.insert_values(fields, samples, raw=True)
        [(sql, params)] = query.get_compiler(connection=connection).as_sql()
        return sql, list(params)

    def insert(self, *instances: M) -> None:
        """Write new rows, in one statement. Who listens to the saves of the model is told as by `save()`."""
        using = router.db_for_write(self._model)
        if signals.post_save.has_listeners(self._model):  # may ask for the row's number
            for instance in instances:
                self._save(instance, using)
            return
        connection: Any = connections[using]
        sql, params = self._for(connection, len(instances))
        values: dict[str, Any] = {}
        for row, instance in enumerate(instances):
            signals.pre_save.send(sender=self._model, instance=instance, raw=False, using=using, update_fields=None)
            values |= {f"{one.attname} {row}": one.pre_save(instance, True) for one in self._fields()}
        with connection.cursor() as cursor:
            cursor.execute(sql, _bind(params, values, connection))
        for instance in instances:
            instance._state.adding, instance._state.db = False, using

    def _save(self, instance: M, using: str) -> None:
        given = {one.attname: models.Value(getattr(instance, one.attname), one) for one in self._fields()}
        for name, made in self._computed.items():
            setattr(instance, name, made(given.__getitem__))
        instance.save(force_insert=True, using=using)
        for name in self._computed:
            setattr(instance, name, given[name].value)
