"""Make, prove, change, rotate and revoke API keys. One entrance per verb."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error, router, transaction
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.apikeys import policy
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.exceptions import APIKeyInvalid, NotFound, PolicyRejected
from django_secure_auth.kit.apikeys import KeyText, digest_api_key, new_api_key, parse_api_key
from django_secure_auth.kit.client_ip import is_within
from django_secure_auth.kit.keys import SecretRing
from django_secure_auth.kit.opaque import OpaqueInvalid, is_equal
from django_secure_auth.kit.rate import Rate
from django_secure_auth.kit.window import Window
from django_secure_auth.notices.services import tell
from django_secure_auth.prepared import Param, PreparedSelect
from django_secure_auth.ratelimit.services import reserve_at
from django_secure_auth.request_scope import AnyRequest, after_transaction, scope_of
from django_secure_auth.sessions.services import lock_user, require_open
from django_secure_auth.sessions.state import user_columns, user_of

logger = logging.getLogger("django_secure_auth")

USE_INTERVAL = timedelta(minutes=10)
"""The last use is written at most so often: a write with every request is a lock with every request."""
CHALLENGE = {"WWW-Authenticate": "ApiKey"}


def _ring() -> SecretRing:
    return secret_ring("api-key")


# --- making --------------------------------------------------------------------------------------------


def create_key(
    user: AbstractBaseUser,
    *,
    name: str,
    scopes: Iterable[str] = (),
    expires_at: datetime | None = None,
    networks: Iterable[str] = (),
    rate_limit: str | None = None,
    session_id: UUID | None = None,
    actor: Any = None,
) -> tuple[APIKey, str]:
    """Make a key for a user and return it with its text, which exists here only: show it once.

    Without `scopes` it has none, without `networks` it works from everywhere; it lives a year at most. Which scopes
    users may give to themselves is asked by their endpoint (`policy.refused_scopes`), not here. `actor` is who makes
    it, when that is not its owner; "" for nobody, as from a shell. `session_id` is the session in which it is asked
    for: one that somebody ends in this very moment makes no key that would outlive it.

    Raises ValueError for what `policy` refuses, PolicyRejected at `MAX_API_KEYS_PER_USER`, NotFound for a user who is
    gone, SessionRevoked.
    """
    now = timezone.now()
    key, text = _draw(
        user_id=user.pk,
        name=policy.clean_name(name),
        scopes=policy.clean_scopes(scopes),
        allowed_networks=policy.clean_networks(networks),
        rate_limit=policy.clean_rate(rate_limit),
        created_at=now,
        expires_at=policy.clean_expiry(expires_at, made_at=now),
    )
    _insert_within_limit(key, session_id)
    record(
        events.APIKEY_CREATED, user=user, actor=actor, public_id=key.public_id, scopes=key.scopes,
        expires_at=key.expires_at,
    )  # fmt: skip
    tell("api_key_created", user, name=key.name)
    return key, text


def _draw(**values: Any) -> tuple[APIKey, str]:
    text = new_api_key(prefix=conf.API_KEY_PREFIX, environment=_environment())
    secret = _ring().first
    digest = digest_api_key(text, secret)
    return APIKey(public_id=text.public_id, digest=digest, key_id=secret.key_id, **values), text.value


def _environment() -> str:
    return conf.API_KEY_ENVIRONMENT or ("test" if settings.DEBUG else "live")


def _insert_within_limit(key: APIKey, session_id: UUID | None) -> None:
    limit = conf.MAX_API_KEYS_PER_USER
    with transaction.atomic(using=router.db_for_write(APIKey)):
        # Locked, so that two makers at once cannot both believe to be the last that fits, and no key is made beside
        # the end of all.
        owner = lock_user(key.user_id)
        if owner is None:
            raise NotFound
        if session_id is not None:
            require_open(session_id, owner)
        if limit and APIKey.objects.primary().for_user(owner).alive().filter(retires_at=None).count() >= limit:
            raise PolicyRejected(errors={"non_field_errors": [f"At most {limit} API keys: revoke one first."]})
        key.save(force_insert=True)


# --- the check of a request ----------------------------------------------------------------------------


class Proof(NamedTuple):
    """A key that was proven, and what it may do. `user` is its owner, active."""

    user: AbstractBaseUser
    public_id: str
    scopes: frozenset[str]


class _Row(NamedTuple):
    pk: UUID
    user_id: Any
    public_id: str
    digest: str
    key_id: str
    scopes: list[str]
    allowed_networks: list[str]
    rate_limit: str
    expires_at: datetime
    last_used_at: datetime | None
    retires_at: datetime | None
    revoked_at: datetime | None


_COLUMNS = ("pk", *_Row._fields[1:])
_by_public_id = PreparedSelect(
    lambda: (
        APIKey.objects.filter(public_id=Param("public_id", APIKey, "public_id"))
        .order_by()
        .values_list(*_COLUMNS, *(f"user__{name}" for name in user_columns()))
    )
)


def _read(public_id: str) -> tuple[_Row, AbstractBaseUser] | tuple[None, None]:
    found = next(iter(_by_public_id.rows(public_id=public_id)), None)
    if found is None:
        return None, None
    width = len(_Row._fields)
    return _Row(*found[:width]), user_of(found[width:])


def prove(text: str, *, request: AnyRequest) -> Proof:
    """Judge a key as it was sent: one query, by its public id, joined with its owner; none on noise.

    A key with a rate of its own is counted; its last use is noted after the request's transaction.

    Raises APIKeyInvalid, outwardly always the same (the trail has the reason), or LimitReached.
    """
    try:
        key = parse_api_key(text)
    except OpaqueInvalid:
        raise refuse(request, reason="malformed") from None
    row, user = _read(key.public_id)
    if row is None or user is None:
        _is_genuine(key, None)  # who asks for a key that is not there waits as long
        raise refuse(request, reason="unknown", public_id=key.public_id)
    if not _is_genuine(key, row):
        raise refuse(request, reason="wrong_secret", public_id=key.public_id, user=row.user_id)
    reason = _why_over(row, user, request)
    if reason:
        raise _refuse_genuine(row, request, reason)
    if row.rate_limit:
        reserve_at(
            [Rate.parse(row.rate_limit)], "api_key", row.public_id, request=request, user=user, public_id=row.public_id
        )
    _note_use(row, key)
    return Proof(user, row.public_id, frozenset(row.scopes))


_NOBODYS_DIGEST = "0" * 64


def _is_genuine(key: KeyText, row: _Row | None) -> bool:
    ring: SecretRing = _ring()
    secret = ring.get(row.key_id) if row else None
    is_same = is_equal(digest_api_key(key, secret or ring.first), row.digest if row else _NOBODYS_DIGEST)
    return is_same and secret is not None


def _why_over(row: _Row, user: AbstractBaseUser, request: AnyRequest) -> str:
    """Return why a genuine key is refused all the same, in a word for the trail; "" when it is not."""
    now = timezone.now()
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= now:
        return "expired"
    if row.retires_at is not None and row.retires_at <= now:
        return "retired"
    if not user.is_active:
        return "inactive"
    if row.allowed_networks and not is_within(scope_of(request).ip_address, row.allowed_networks):
        return "network"
    return ""


def refuse(request: AnyRequest, *, reason: str, user: Any = None, **details: Any) -> APIKeyInvalid:
    """Record a refusal and return it. Whoever sent no genuine key is nobody: the event has no actor."""
    record(events.APIKEY_FAIL, request=request, user=user, actor="", reason=reason, **details)
    return APIKeyInvalid(headers=CHALLENGE)


_told: Window[tuple[UUID, str]] = Window(300)


def _refuse_genuine(row: _Row, request: AnyRequest, reason: str) -> APIKeyInvalid:
    # Once in five minutes for each key, reason and process: a forgotten job that goes on asking is no attack, and must
    # not fill the trail.
    if _told.count((row.pk, reason)) == 1:
        record(events.APIKEY_FAIL, request=request, user=row.user_id, reason=reason, public_id=row.public_id)
    return APIKeyInvalid(headers=CHALLENGE)


# --- the last use --------------------------------------------------------------------------------------

_PAUSE = 60.0
"""Seconds without a try to write the last use after one that failed: a database that is read-only stays so."""
_last_failure = float("-inf")


def _note_use(row: _Row, key: KeyText) -> None:
    now = timezone.now()
    is_due = row.last_used_at is None or now - row.last_used_at >= USE_INTERVAL
    if is_due and time.monotonic() - _last_failure >= _PAUSE:
        after_transaction(partial(_write_use, row, key, now), using=router.db_for_write(APIKey))


def _write_use(row: _Row, key: KeyText, now: datetime) -> None:
    """One conditional UPDATE, which may be lost: it never fails a request, and waits for no other."""
    global _last_failure  # noqa: PLW0603  # of the process: however many requests meet the failure
    using = router.db_for_write(APIKey)
    inside = transaction.get_connection(using).in_atomic_block
    try:
        # In a transaction of the caller's (a test, a task) a failure must not take that down.
        with transaction.atomic(using=using) if inside else nullcontext():
            is_first = _swap_last_use(row, key, now) and row.last_used_at is None
    except Error as error:
        _last_failure = time.monotonic()
        logger.info("The last use of an API key could not be written (%s).", type(error).__name__)
        return
    if is_first:
        record(events.APIKEY_USED_FIRST, user=row.user_id, public_id=row.public_id)
        told = partial(
            signals.api_key_used_first.send_robust, sender=APIKey, key_id=row.pk, public_id=row.public_id,
            user_id=row.user_id,
        )  # fmt: skip
        transaction.on_commit(told, using=using)


def _swap_last_use(row: _Row, key: KeyText, now: datetime) -> bool:
    changes: dict[str, Any] = {"last_used_at": now}
    secret = _ring().first
    if row.key_id != secret.key_id:
        # Now, while the text is here: so that a retired root key takes along only keys that nobody uses.
        changes |= {"key_id": secret.key_id, "digest": digest_api_key(key, secret)}
    # Of several requests at once one finds the value that all of them had read.
    return APIKey.objects.filter(pk=row.pk, last_used_at=row.last_used_at).update(**changes) == 1


# --- changing and ending -------------------------------------------------------------------------------


def change_key(key: APIKey, *, actor: Any = None, **changes: Any) -> APIKey:
    """Change `name`, `scopes`, `expires_at`, `allowed_networks` or `rate_limit` of a living key; it holds at once.

    Raises ValueError for what `policy` refuses, TypeError for another field, NotFound for a key that has ended
    meanwhile.
    """
    foreign = sorted(changes.keys() - _CLEAN.keys())
    if foreign:
        raise TypeError(f"Of an API key, {', '.join(foreign)} cannot be changed.")
    cleaned = {name: _CLEAN[name](value, key) for name, value in changes.items()}
    if not cleaned:
        return key
    if not APIKey.objects.alive().filter(pk=key.pk).update(**cleaned):
        raise NotFound
    for name, value in cleaned.items():
        setattr(key, name, value)
    record(events.APIKEY_CHANGED, user=key.user_id, actor=actor, public_id=key.public_id, changed=sorted(cleaned))
    return key


_CLEAN: dict[str, Any] = {
    "name": lambda value, _: policy.clean_name(value),
    "scopes": lambda value, _: policy.clean_scopes(value),
    "allowed_networks": lambda value, _: policy.clean_networks(value),
    "rate_limit": lambda value, _: policy.clean_rate(value),
    "expires_at": lambda value, key: policy.clean_expiry(value, made_at=key.created_at),
}


def rotate(key: APIKey, *, overlap: timedelta | None = None, actor: Any = None) -> tuple[APIKey, str]:
    """Replace a living key by a new one, exactly once; returns the new one and its text, as `create_key` does.

    Both work for `overlap` (default `API_KEY_OVERLAP`), so that clients can change over one by one; the key before
    this one, if it still lived, ends now. The new key may do what the old one may, and lives as long as that was made
    for.

    Raises ValueError for a negative overlap, PolicyRejected for a key that has ended or was replaced already.
    """
    overlap = conf.API_KEY_OVERLAP if overlap is None else overlap
    if overlap < timedelta(0):
        raise ValueError("An overlap is not negative.")
    now = timezone.now()
    with transaction.atomic(using=router.db_for_write(APIKey)):
        lock_user(key.user_id)
        # Decided by this UPDATE: of many callers at once one finds a key that nobody has replaced.
        living = APIKey.objects.alive(now)
        if not living.filter(pk=key.pk, retires_at=None).update(retires_at=now + overlap):
            raise PolicyRejected(errors={"non_field_errors": ["This key has ended or was replaced already."]})
        if key.replaces is not None:
            living.filter(pk=key.replaces).update(retires_at=now)
        # As it is now, and nobody changes it meanwhile: scopes that were just taken away must not come back.
        successor, text = _successor_of(APIKey.objects.primary().get(pk=key.pk), now)
        successor.save(force_insert=True)
    record(
        events.APIKEY_ROTATED, user=key.user_id, actor=actor, public_id=key.public_id, successor=successor.public_id,
        overlap=overlap,
    )  # fmt: skip
    return successor, text


def _successor_of(key: APIKey, now: datetime) -> tuple[APIKey, str]:
    return _draw(
        user_id=key.user_id,
        name=key.name,
        scopes=key.scopes,
        allowed_networks=key.allowed_networks,
        rate_limit=key.rate_limit,
        created_at=now,
        expires_at=now + min(key.expires_at - key.created_at, policy.MAX_LIFETIME),
        replaces=key.pk,
    )


def revoke(key: APIKey, *, reason: str, actor: Any = None) -> bool:
    """End a key at once. Returns whether it was this call that ended it.

    `reason` is a short word for the trail: `revoked_by_user`, `admin`, `command`, …; `actor` as in `create_key`.
    """
    ended = APIKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if ended:
        record(events.APIKEY_REVOKED, user=key.user_id, actor=actor, public_id=key.public_id, reason=reason)
    return bool(ended)


def revoke_all(user: AbstractBaseUser, *, reason: str, actor: Any = None) -> int:
    """Revoke every living key of a user: somebody else was in the account. Returns how many. `actor` as in `revoke`."""
    with transaction.atomic(using=router.db_for_write(APIKey)):
        lock_user(user.pk)
        return sum(revoke(key, reason=reason, actor=actor) for key in APIKey.objects.primary().for_user(user).alive())


def purge(*, before: datetime) -> int:
    """Delete keys that ended before a moment. Returns how many."""
    return APIKey.objects.over(before=before)._raw_delete(router.db_for_write(APIKey))
