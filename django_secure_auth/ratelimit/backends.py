"""A cache in the database whose counters are exact: `add`, `incr` and `decr` are one statement each.

Django's own reads a counter, adds one in Python and writes it back: of two that come at once one is lost, and whoever
guesses in parallel has more guesses than the limit says. It also throws living entries away when there are too many,
and a counter that is thrown away begins again.
"""

from __future__ import annotations

import base64
import itertools
import math
import pickle
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.db import DatabaseError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict
from django.utils.timezone import now as utc_or_naive_now

# A pickle in base64 begins with a letter, so that the two cannot be taken for one another.
_COUNTER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TRIES = 10
_VICTIM_STATES = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected (PostgreSQL, appendix A)
_VICTIM_OF_MYSQL = 1213  # ER_LOCK_DEADLOCK
_CULL_EVERY, _CULL_AT_MOST = 100, 500
_written = itertools.count(1)

# The column is text, as `createcachetable` makes it. The condition keeps the cast away from everything else.
_INCREMENT = {
    "postgresql": "UPDATE {table} SET value = (value::bigint + %s)::text"
    " WHERE cache_key = %s AND expires > %s AND value ~ '^-?[0-9]{{1,18}}$' RETURNING value",
    "sqlite": "UPDATE {table} SET value = CAST(CAST(value AS INTEGER) + %s AS TEXT)"
    " WHERE cache_key = %s AND expires > %s AND value NOT GLOB '*[^0-9-]*' RETURNING value",
    # No RETURNING here: LAST_INSERT_ID(…) of a connection is what it was last told, and comes along with the answer.
    "mysql": "UPDATE {table} SET value = CAST(CAST(LAST_INSERT_ID(CAST(value AS SIGNED) + %s) AS SIGNED) AS CHAR)"
    " WHERE cache_key = %s AND expires > %s AND value REGEXP '^-?[0-9]{{1,18}}$'",
}
VENDORS = frozenset(_INCREMENT)
"""Databases that this cache counts on. SQLite from 3.35."""


class AtomicDatabaseCache(DatabaseCache):
    """A cache on a table of `createcachetable`, exact under parallel callers, for `RATE_LIMIT_CACHE`.

    `OPTIONS = {"DATABASE": alias}` names the connection; without it Django's router does. Inside a transaction of
    that connection a count is rolled back with it, and holds others up until it ends: with ATOMIC_REQUESTS give it a
    connection of its own.

    Integers are stored as text, so that the database itself can add to them; all else as Django's own stores it.
    Only what has expired is ever thrown away; MAX_ENTRIES and CULL_FREQUENCY mean nothing.
    """

    def __init__(self, table: str, params: dict[str, Any]) -> None:
        super().__init__(table, params)
        self.table = table
        self.database: str | None = params.get("OPTIONS", {}).get("DATABASE")

    def alias(self) -> str:
        """Return the alias of the connection. One that decides reads where it writes, never from a replica."""
        return self.database or str(router.db_for_write(self.cache_model_class))

    # --- counting ------------------------------------------------------------------------------------

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to a counter that lives and return what it is now. Raises ValueError when there is none."""
        name = self.make_and_validate_key(key, version=version)
        found = self._increment(name, delta)
        if found is None and self._take_over(name):
            found = self._increment(name, delta)
        if found is None:
            raise ValueError(f"Key {key!r} not found")
        return found

    def _increment(self, name: str, delta: int) -> int | None:
        connection = connections[self.alias()]
        # Another database gets no statement that it might understand in another way.
        statement = _INCREMENT[connection.vendor].format(table=self._quoted(connection))
        parameters = [delta, name, self._now(connection)]
        if connection.vendor != "mysql":
            rows = self._rows(connection, statement, parameters)
            return int(rows[0][0]) if rows else None
        count, last_id = self._changed(connection, statement, parameters)
        # The id is unsigned on its way: below zero it comes as so much below 2^64.
        return (last_id - 2**64 if last_id >= 2**63 else last_id) if count else None

    def _take_over(self, name: str) -> bool:
        """Rewrite a counter that Django's own cache has left in the table. Whether there was something to rewrite."""
        connection = connections[self.alias()]
        (stored,) = self._stored(connection, [name]) or [(name, "")]
        if not stored[1] or _COUNTER.fullmatch(stored[1]):
            return False
        value = _read(stored[1])
        if type(value) is not int:
            raise TypeError(f"What is stored there is no counter but {type(value).__name__}.")
        # Only if it is still what was read: of two who meet it, the second must not undo what the first has counted.
        statement = f"UPDATE {self._quoted(connection)} SET value = %s WHERE cache_key = %s AND value = %s"  # nosec B608  # noqa: S608  # a quoted name
        self._changed(connection, statement, [str(value), name, stored[1]])
        return True

    # --- the other verbs -----------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """Return what lives. What has expired stays: deleting it could hit the counter that took its place."""
        names = {self.make_and_validate_key(key, version=version): key for key in keys}
        found = self._stored(connections[self.alias()], list(names)) if names else []
        return {names[name]: _read(stored) for name, stored in found}

    def has_key(self, key: str, version: int | None = None) -> bool:
        return bool(self.get_many([key], version))

    def _base_set(self, mode: str, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT) -> bool:
        connection = connections[self.alias()]
        table, now = self._quoted(connection), self._now(connection)
        expires = self._moment(connection, self.get_backend_timeout(timeout))
        if mode == "touch":
            statement = f"UPDATE {table} SET expires = %s WHERE cache_key = %s AND expires > %s"  # nosec B608  # noqa: S608  # as above
            return self._changed(connection, statement, [expires, key, now])[0] > 0
        stored = self._written_form(value)
        if mode == "set":
            self._insert(connection, OnConflict.UPDATE, [key, stored, expires])
            is_new = True
        elif not (is_new := self._insert(connection, OnConflict.IGNORE, [key, stored, expires])):
            statement = f"UPDATE {table} SET value = %s, expires = %s WHERE cache_key = %s AND expires <= %s"  # nosec B608  # noqa: S608  # as above
            return self._changed(connection, statement, [stored, expires, key, now])[0] > 0
        if next(_written) % _CULL_EVERY == 0 and not connection.in_atomic_block:
            self._cull_expired(connection)
        return is_new

    def _insert(self, connection: BaseDatabaseWrapper, on_conflict: OnConflict, row: list[Any]) -> bool:
        operations = connection.ops
        suffix = operations.on_conflict_suffix_sql([], on_conflict, ["value", "expires"], ["cache_key"])
        statement = (
            f"{operations.insert_statement(on_conflict=on_conflict)} {self._quoted(connection)}"
            f" (cache_key, value, expires) VALUES (%s, %s, %s) {suffix}"
        )
        return self._changed(connection, statement, row)[0] > 0

    def _base_delete_many(self, keys: list[str]) -> bool:
        if not keys:
            return False
        connection = connections[self.alias()]
        statement = f"DELETE FROM {self._quoted(connection)} WHERE cache_key IN ({_places(keys)})"  # nosec B608  # noqa: S608  # as above
        return self._changed(connection, statement, keys)[0] > 0

    def clear(self) -> None:
        connection = connections[self.alias()]
        self._changed(connection, f"DELETE FROM {self._quoted(connection)}", [])  # nosec B608  # noqa: S608  # as above

    def _cull_expired(self, connection: BaseDatabaseWrapper) -> None:
        # Five for each that is written, so that the table cannot outgrow it. By key: a range would lock its gaps.
        table, now = self._quoted(connection), self._now(connection)
        expired = f"SELECT cache_key FROM {table} WHERE expires <= %s ORDER BY cache_key LIMIT {_CULL_AT_MOST}"  # nosec B608  # noqa: S608  # as above
        try:
            names = [name for (name,) in self._rows(connection, expired, [now])]
            if names:
                statement = f"DELETE FROM {table} WHERE cache_key IN ({_places(names)}) AND expires <= %s"  # nosec B608  # noqa: S608  # as above
                self._changed(connection, statement, [*names, now])
        except DatabaseError:  # housekeeping that met another's: there will be a next time
            return

    # --- statements ----------------------------------------------------------------------------------

    def _stored(self, connection: BaseDatabaseWrapper, names: list[str]) -> list[Any]:
        table = self._quoted(connection)
        statement = f"SELECT cache_key, value FROM {table} WHERE cache_key IN ({_places(names)}) AND expires > %s"  # nosec B608  # noqa: S608  # as above
        rows = self._rows(connection, statement, [*names, self._now(connection)])
        return rows

    def _rows(self, connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> list[Any]:
        return list(self._run(connection, statement, parameters, is_query=True))

    def _changed(self, connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> tuple[int, int]:
        """Return how many rows there were, and the last id that the connection was told."""
        count, last_id = self._run(connection, statement, parameters, is_query=False)
        return count, last_id or 0

    def _run(self, connection: BaseDatabaseWrapper, statement: str, parameters: list[Any], *, is_query: bool) -> Any:
        """Run one statement. Outside of a transaction again when it was the victim of others, or when the connection
        had died since its last use. A server that is away is asked once: whoever signs in waits for the answer.
        """
        tries_left = _TRIES
        while True:
            try:
                with _savepoint(connection), connection.cursor() as cursor:
                    cursor.execute(statement, parameters)
                    return cursor.fetchall() if is_query else (cursor.rowcount, getattr(cursor, "lastrowid", 0))
            except OperationalError as error:
                tries_left -= 1
                if connection.in_atomic_block or not tries_left:
                    raise
                if connection.connection is not None and not connection.is_usable():
                    connection.close()
                elif not _is_victim(error):
                    raise

    def _quoted(self, connection: BaseDatabaseWrapper) -> str:
        return connection.ops.quote_name(self.table)

    def _written_form(self, value: Any) -> str:
        if type(value) is int and _COUNTER.fullmatch(str(value)):  # not True, which comes back as True
            return str(value)
        return base64.b64encode(pickle.dumps(value, self.pickle_protocol)).decode("ascii")

    def _now(self, connection: BaseDatabaseWrapper) -> Any:
        return connection.ops.adapt_datetimefield_value(utc_or_naive_now())

    def _moment(self, connection: BaseDatabaseWrapper, timestamp: float | None) -> Any:
        if timestamp is None:
            moment = datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001  # as Django's own: "never", in no time zone
        else:
            moment = datetime.fromtimestamp(math.ceil(timestamp), tz=UTC if settings.USE_TZ else None)
        return connection.ops.adapt_datetimefield_value(moment)


def _is_victim(error: OperationalError) -> bool:
    """Whether others came first and the statement did nothing: a deadlock, or a snapshot that was too old."""
    return getattr(error.__cause__, "sqlstate", None) in _VICTIM_STATES or error.args[:1] == (_VICTIM_OF_MYSQL,)


def _savepoint(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Inside a transaction of the host's a failure, such as a table that is not there, must not take that down."""
    if not connection.in_atomic_block:
        return nullcontext()
    savepoint: AbstractContextManager[None] = transaction.atomic(using=connection.alias)
    return savepoint


def _places(values: list[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def _read(stored: str) -> Any:
    if _COUNTER.fullmatch(stored):
        return int(stored)
    return pickle.loads(base64.b64decode(stored.encode("ascii"), validate=True))  # nosec B301  # noqa: S301  # written by us or by Django's own
