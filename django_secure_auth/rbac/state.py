"""Markers in the state cache: whose access has changed since a cached state may have been read.

A cached state is believed for `ACCESS_TOKEN_TTL` at most. Who changes what somebody may do first lays a marker,
which outlives every state that was read before it; who meets one asks the database (see `sessions.state`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.core.cache import caches
from django.db import transaction

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import StateUnavailable

logger = logging.getLogger("django_secure_auth")

LONGEST_STALL = 60.0
"""Seconds that a marker outlives any record read before it was laid: how long a reader or a change may hang."""

EVERYBODY = "secure_auth:access:1:everybody"
"""A role itself was changed. One key, however many hold it."""


def marker_of(user_id: Any) -> str:
    # Hashed: a project may have names for keys, with characters that no cache takes.
    return f"secure_auth:access:1:{hashlib.sha256(str(user_id).encode()).hexdigest()[:32]}"


def lay_markers(keys: Iterable[str], *, using: str) -> None:
    """Lay markers in the transaction of a change, and again when it has ended: it may have lasted longer than the first
    ones stay fresh. Raises StateUnavailable when the cache is away; the change then fails whole."""
    if not conf.STATE_CACHE:
        return
    markers = dict.fromkeys(keys, 1)
    _write(markers)
    transaction.on_commit(partial(_write, markers), using=using, robust=True)


def _write(markers: dict[str, int]) -> None:
    lifetime = conf.ACCESS_TOKEN_TTL.total_seconds() + LONGEST_STALL
    try:
        failed = caches[str(conf.STATE_CACHE)].set_many(markers, lifetime)
    except Exception as error:  # an outage, whatever the client raises
        logger.error("The state cache is away (%s); no role is changed.", type(error).__name__)
        raise StateUnavailable from error
    if failed:
        raise StateUnavailable
