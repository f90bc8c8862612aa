"""A session's state: the one small record that every authenticated request asks for.

Read from the row joined with its user, in one query; with `STATE_CACHE` kept in a shared cache. Who ends a
session first lays a tombstone, then changes the row: readers who meet the tombstone ask the database, whatever
else the cache holds. It lies under a key of its own, so that a copy which is dropped after a last-seen or a
rotation does not take it along. A reader who had looked before the tombstone and stalls may fill the cache,
but its record carries the moment of that look, and is too old when the tombstone is gone.
A cached record can only say yes: every no is asked of the database again. It holds what the user may do as well;
who changes that lays a marker, which is looked for in the same trip (see `rbac.state`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from cachetools import LRUCache
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import BaseCache, caches
from django.db import router, transaction
from django.dispatch import Signal
from django.utils import timezone

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import StateUnavailable
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.mail import address_of
from django_secure_auth.prepared import Param, PreparedSelect
from django_secure_auth.rbac.services import Access, Summary, attach, resolve
from django_secure_auth.rbac.state import EVERYBODY, LONGEST_STALL, marker_of
from django_secure_auth.sessions.models import Session

logger = logging.getLogger("django_secure_auth")

_TOMBSTONE = 0
_LOCAL_COPIES = 10_000


def password_fingerprint(encoded_password: str) -> str:
    """Return a name for a stored password hash: when it changes, what was opened under the old one is over.

    Not keyed: the input is itself a salted hash, and a rotated key must not sign everybody out.
    """
    return hashlib.sha256(b"password-fingerprint\0" + (encoded_password or "").encode()).hexdigest()[:32]


def account_fingerprint(user: AbstractBaseUser) -> str:
    """Return a name for a user's stored password and address: what is mailed is bound to both."""
    return password_fingerprint(f"{user.password}\0{address_of(user)}")


def user_is_unchanged(session: Session) -> bool:
    """Whether the user is active and has the password under which the session was opened. Reads the user."""
    user = session.user
    return user.is_active and session.password_fingerprint == password_fingerprint(user.password)


class State(NamedTuple):
    """What a request needs to know of its session. Times are Unix seconds."""

    read_at: float
    generation: int
    acked: bool
    last_seen: float
    idle_at: float
    absolute_at: float
    is_revoked: bool
    remember_me: bool
    amr: tuple[str, ...]
    auth_time: float
    created_at: float
    user_is_unchanged: bool
    user_values: tuple[Any, ...]
    impersonator: Any
    """The id of whoever is signed in as the user, or None."""
    access: tuple[Any, ...]
    """The fields of `Access`: plain, since a class in the cache could not be renamed."""

    def user(self) -> AbstractBaseUser:
        """Return a real user instance, which carries its roles; columns that were not read are deferred."""
        user = user_of(self.user_values)
        attach(user, Access(*self.access))
        return user


@lru_cache(maxsize=1)
def user_columns() -> tuple[str, ...]:
    """Columns of the user that are read with every request, in the model's own order. Not the password."""
    model = get_user_model()
    wanted = {model._meta.pk.attname, "is_active", "is_staff", "is_superuser"}
    wanted |= {model.USERNAME_FIELD, model.get_email_field_name()}
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname in wanted)


def user_of(values: Sequence[Any]) -> AbstractBaseUser:
    """Return a real user instance from the values of `user_columns()`."""
    model = get_user_model()
    return model.from_db(router.db_for_write(model), user_columns(), values)


def summary_columns(user: str) -> tuple[str, ...]:
    """Return the columns of `Summary` for `values_list` of a model whose field `user` leads to the user."""
    return tuple(f"{user}__secure_auth_access__{name}" for name in Summary._fields)


_SESSION_COLUMNS = (
    "generation",
    "acked",
    "last_seen_at",
    "idle_at",
    "absolute_at",
    "revoked_at",
    "remember_me",
    "amr",
    "auth_time",
    "created_at",
    "password_fingerprint",
    "user__password",
    "user_id",
    "impersonator_id",
)


_by_id = PreparedSelect(
    lambda: (
        Session.objects.filter(pk=Param("id", Session, "id"))
        .order_by()
        .values_list(*_SESSION_COLUMNS, *summary_columns("user"), *(f"user__{name}" for name in user_columns()))
    )
)

_FIXED = len(_SESSION_COLUMNS) + len(Summary._fields)


def read_state(session_id: UUID) -> State | None:
    """Read the state from the database: one query, by primary key, joined with the user and the summary of its roles.

    The first time after a grant or a role was changed, two more and a write.
    """
    read_at = time.time()
    row = next(iter(_by_id.rows(id=session_id)), None)
    if row is None:
        return None
    (generation, acked, last_seen, idle_at, absolute_at, revoked_at) = row[:6]
    (remember_me, amr, auth_time, created_at, fingerprint, password, user_id, impersonator) = row[6:14]
    summary, values = Summary(*row[14:_FIXED]), tuple(row[_FIXED:])
    return State(
        read_at=read_at,
        generation=generation,
        acked=acked,
        last_seen=last_seen.timestamp(),
        idle_at=idle_at.timestamp(),
        absolute_at=absolute_at.timestamp(),
        is_revoked=revoked_at is not None,
        remember_me=remember_me,
        amr=tuple(amr),
        auth_time=auth_time.timestamp(),
        created_at=created_at.timestamp(),
        user_is_unchanged=fingerprint == password_fingerprint(password)
        and bool(dict(zip(user_columns(), values, strict=True)).get("is_active", True)),
        user_values=values,
        impersonator=impersonator,
        access=tuple(resolve(user_id, summary)),
    )


# --- copies ------------------------------------------------------------------------------------------

# With the moment of its fetching: a record of the shared cache was read from the database earlier, and is as good as
# new when it is fetched, since a tombstone would lie beside it.
_local: LRUCache[UUID, tuple[float, State]] = LRUCache(maxsize=_LOCAL_COPIES)
_local_lock = threading.Lock()
_last_outage = float("-inf")
_PAUSE = 5.0
"""Seconds without a look at a cache that has failed: one that hangs would cost every request its whole time-out."""


def _key(session_id: UUID) -> str:
    return f"secure_auth:state:1:{session_id.hex}"


def _grave(session_id: UUID) -> str:
    return f"secure_auth:state:1:{session_id.hex}:tombstone"


def _cache() -> BaseCache | None:
    return caches[conf.STATE_CACHE] if conf.STATE_CACHE else None


def _cache_to_ask() -> BaseCache | None:
    """The cache, unless it has just failed: whoever reads or fills goes to the database, whoever revokes tries."""
    return _cache() if time.monotonic() - _last_outage >= _PAUSE else None


def _tell_outage(error: Exception) -> None:
    global _last_outage  # noqa: PLW0603  # of the process: however many requests meet the outage
    _last_outage = time.monotonic()
    logger.error("The state cache is away (%s); sessions are read from the database.", type(error).__name__)


def cached_state(session_id: UUID, user_id: str) -> State | None:
    """Return a copy that is young enough to be believed, from this process or from the shared cache.

    `user_id` is whose session it is, as the access token says: the marker of a changed role lies under it.
    """
    now = time.time()
    max_age = conf.STATE_MAX_AGE.total_seconds()
    if max_age:
        with _local_lock:
            fetched_at, copy = _local.get(session_id, (0.0, None))
        if copy is not None and 0 <= now - fetched_at < max_age and Access(*copy.access).holds_at(now):
            return copy
    cache = _cache_to_ask()
    if cache is None:
        return None
    warnings = (_grave(session_id), marker_of(user_id), EVERYBODY)
    try:
        found = cache.get_many((_key(session_id), *warnings))
    except Exception as error:  # an outage falls back to the database, whatever the client raises
        _tell_outage(error)
        return None
    if any(key in found for key in warnings):
        return None
    state = _state_of(found.get(_key(session_id)))
    if (
        state is None
        or now - state.read_at >= conf.ACCESS_TOKEN_TTL.total_seconds()
        or not Access(*state.access).holds_at(now)
    ):
        return None
    if max_age:
        with _local_lock:
            _local[session_id] = (now, state)
    return state


def _state_of(record: object) -> State | None:
    # Another version of the package may have written under our key.
    if not isinstance(record, tuple) or len(record) != len(State._fields):
        return None
    state = State(*record)
    return state if len(state.access) == len(Access._fields) else None


def keep_copy(session_id: UUID, state: State) -> None:
    """Keep a state that was just read. `add`, never `set`: a tombstone that was laid meanwhile stays."""
    if conf.STATE_MAX_AGE:
        with _local_lock:
            _local[session_id] = (state.read_at, state)
    cache = _cache_to_ask()
    if cache is None:
        return
    try:
        cache.add(_key(session_id), tuple(state), conf.ACCESS_TOKEN_TTL.total_seconds())
    except Exception as error:
        _tell_outage(error)


def _forget_locally(session_ids: Collection[UUID]) -> None:
    with _local_lock:
        for session_id in session_ids:
            _local.pop(session_id, None)


def bury(session_ids: Collection[UUID]) -> None:
    """Lay tombstones, before a change that takes rights away. Raises StateUnavailable when the cache is away.

    The change then fails whole: a revocation that some process would not see for minutes is none. In a transaction
    they are laid again when it has ended: it may have lasted longer than the first ones stay fresh.
    """
    _lay_tombstones(session_ids)
    using = router.db_for_write(Session)
    if conf.STATE_CACHE and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(partial(_lay_tombstones, session_ids), using=using, robust=True)


def _lay_tombstones(session_ids: Collection[UUID]) -> None:
    _forget_locally(session_ids)
    cache = _cache()
    if cache is None or not session_ids:
        return
    # In the record's place too: who meets the tombstone may not fill the cache.
    keys = (key(session_id) for session_id in session_ids for key in (_grave, _key))
    lifetime = conf.ACCESS_TOKEN_TTL.total_seconds() + LONGEST_STALL
    try:
        failed = cache.set_many(dict.fromkeys(keys, _TOMBSTONE), lifetime)
    except Exception as error:
        _tell_outage(error)
        raise StateUnavailable from error
    if failed:
        raise StateUnavailable


def refresh_copy(session_id: UUID) -> None:
    """Drop a copy after a change that takes no rights away (last-seen, a rotation); an old copy does no harm."""
    _forget_locally((session_id,))
    cache = _cache_to_ask()
    if cache is not None:
        try:
            cache.delete(_key(session_id))
        except Exception as error:
            _tell_outage(error)


def bury_sessions_of(user: AbstractBaseUser) -> None:
    """Lay tombstones for every living session of a user: somebody changed or deletes the account."""
    if conf.STATE_CACHE or conf.STATE_MAX_AGE:
        living = Session.objects.primary().for_user(user).alive(timezone.now())
        bury(list(living.values_list("pk", flat=True)))


_HARMLESS_USER_FIELDS = frozenset({"last_login"})


def before_user_is_saved(instance: Any, update_fields: Collection[str] | None = None, **_: object) -> None:
    """`pre_save` of the user model: password, `is_active` and privileges hold at the next request.

    Before, so that a state cache that is away stops the change, also outside of a transaction. Of every model,
    since a proxy or a child of the user model sends another sender.
    """
    if not isinstance(instance, get_user_model()) or instance._state.adding:
        return
    if update_fields is None or not _HARMLESS_USER_FIELDS.issuperset(update_fields):
        bury_sessions_of(instance)
    name = instance.get_email_field_name()
    if _is_saved(name, update_fields):
        stored = get_user_model()._base_manager.using(router.db_for_write(get_user_model())).filter(pk=instance.pk)
        setattr(instance, _OLD_ADDRESS, stored.values_list(name, flat=True).first() or "")


_OLD_ADDRESS = "_secure_auth_old_address"
user_saved = Signal()
"""After a user was saved with another password or address: `user`, `old_address`, and which: `password`, `address`."""


def _is_saved(field: str, update_fields: Collection[str] | None) -> bool:
    return update_fields is None or field in update_fields


def after_user_is_saved(
    instance: Any, created: bool, raw: bool = False, update_fields: Collection[str] | None = None, **_: object
) -> None:
    """`post_save` of the user model: say whether the password or the address is another one now."""
    now = address_of(instance)
    old = instance.__dict__.pop(_OLD_ADDRESS, now)
    # Django's own mark of a password that was set, and not only hashed anew; `save()` takes it away after this.
    is_new_password = instance._password is not None and _is_saved("password", update_fields)
    is_new_address = canonical_identifier(old) != canonical_identifier(now)
    if not (created or raw) and (is_new_password or is_new_address):
        user_saved.send(
            type(instance), user=instance, old_address=old, password=is_new_password, address=is_new_address
        )


def before_session_is_deleted(instance: Session, **_: object) -> None:
    """`pre_delete` of a session: from the admin, or with its user."""
    bury((instance.pk,))
