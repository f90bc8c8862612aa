"""Access tokens, and refresh by compare-and-swap.

A refresh token is derived from its session and generation, so one row per session is enough, the same
successor can be handed out again, and ending the session ends every token without knowing any.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf, secret_ring, signing_ring
from django_secure_auth.exceptions import RefreshReused, SessionInactive, SessionRevoked, TokenExpired, TokenInvalid
from django_secure_auth.kit import jwt
from django_secure_auth.kit.opaque import (
    OpaqueInvalid,
    RefreshToken,
    derive_refresh_token,
    is_genuine,
    parse_refresh_token,
)
from django_secure_auth.notices.services import tell
from django_secure_auth.prepared import Param, PreparedSelect, PreparedUpdate
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.rbac.services import Summary, attach
from django_secure_auth.request_scope import AnyRequest, scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session, may_impersonate
from django_secure_auth.sessions.state import password_fingerprint, refresh_copy, summary_columns, user_columns, user_of

ACCESS_TYP = "at+jwt"
_PURPOSE = "refresh"
_ANY_AGE = timedelta(days=3650).total_seconds()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client is handed. The repr shows neither."""

    access: str
    refresh: str
    access_expires_at: datetime

    def __repr__(self) -> str:
        return f"<Tokens until {self.access_expires_at:%H:%M:%S}>"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A refreshed session and its tokens; `user` is loaded with it."""

    session: Session
    tokens: Tokens


def issue(session: Session) -> Tokens:
    """Return the tokens of a session's present generation. Writes nothing; asked twice, the refresh token is one.

    An access token never outlives its session (RFC 9068 §2.2; RFC 8725 §3).
    """
    now = timezone.now()
    expires_at = min(now + conf.ACCESS_TOKEN_TTL, session.absolute_at, session.idle_at + conf.ACTIVITY_INTERVAL)
    claims = {
        "iss": conf.ISSUER,
        "aud": conf.AUDIENCE,
        "sub": str(session.user_id),
        "sid": str(session.pk),
        "jti": secrets.token_urlsafe(16),
        "gen": session.generation,
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "auth_time": int(session.auth_time.timestamp()),
        "amr": session.amr,
        # The actor, for services that read the token without us (RFC 8693 §4.1).
        **({"act": {"sub": str(session.impersonator_id)}} if session.impersonator_id is not None else {}),
    }
    return Tokens(
        access=jwt.sign(claims, signing_ring(), typ=ACCESS_TYP),
        refresh=derive_refresh_token(
            session.pk, session.generation, bytes.fromhex(session.salt), secret_ring(_PURPOSE)
        ),
        access_expires_at=expires_at,
    )


# --- access tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """A verified access token."""

    session_id: UUID
    user_id: str
    generation: int
    expires_at: float


# Verifying a signature costs more than everything else on the path of a request, and one token is shown
# hundreds of times. Remembered by the token's hash, until it expires; the session is asked every time.
_verified: LRUCache[tuple[bytes, jwt.KeyRing, str, str], AccessClaims] = LRUCache(maxsize=4096)
_verified_lock = threading.Lock()


def _claims_of(payload: dict[str, Any]) -> AccessClaims:
    sid, generation = payload.get("sid"), payload.get("gen")
    if not isinstance(sid, str) or not isinstance(generation, int) or isinstance(generation, bool) or generation < 1:
        raise TokenInvalid
    try:
        session_id = UUID(sid)
    except ValueError:
        raise TokenInvalid from None
    if str(session_id) != sid:  # UUID() also reads braces, prefixes and capitals: one spelling only
        raise TokenInvalid
    return AccessClaims(session_id, payload["sub"], generation, float(payload["exp"]))


def read_access_token(token: str) -> AccessClaims:
    """Verify an access token and return its claims. Says nothing of the session: ask `sessions.services.alive`.

    Raises TokenInvalid or TokenExpired. Source: RFC 9068 §4, RFC 8725.
    """
    ring = signing_ring()
    now = timezone.now().timestamp()
    leeway = conf.CLOCK_LEEWAY.total_seconds()
    # Keyed by the ring too: a retired key, another issuer, must not live on in this memory.
    key = (hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), ring, conf.ISSUER, conf.AUDIENCE)
    with _verified_lock:
        claims = _verified.get(key)
    if claims is not None and claims.expires_at > now - leeway:
        return claims
    claims = _verify(token, leeway=leeway, now=now)
    with _verified_lock:
        _verified[key] = claims
    return claims


def _verify(token: str, *, leeway: float, now: float) -> AccessClaims:
    try:
        payload = jwt.verify(
            token, signing_ring(), issuer=conf.ISSUER, audience=conf.AUDIENCE, typ=ACCESS_TYP, leeway=leeway, now=now
        )
    except jwt.TokenExpired:
        raise TokenExpired from None
    except jwt.TokenInvalid:
        raise TokenInvalid from None
    return _claims_of(payload)


def session_of_access_token(token: str) -> Session | None:
    """Return the session of a genuine access token, dead or alive, to end it: signing out late is allowed.

    Raises TokenInvalid.
    """
    claims = _verify(token, leeway=_ANY_AGE, now=timezone.now().timestamp())
    return _load(claims.session_id)


# --- refresh tokens ----------------------------------------------------------------------------------


def _columns() -> tuple[str, ...]:
    return tuple(field.attname for field in Session._meta.concrete_fields)


_by_id = PreparedSelect(
    lambda: (
        Session.objects.filter(pk=Param("id", Session, "id"))
        .order_by()
        .values_list(
            *_columns(), *summary_columns("user"), *(f"user__{name}" for name in ("password", *user_columns()))
        )
    )
)


def _load(session_id: UUID) -> Session | None:
    """Read a session, its user and the summary of its roles in one query. The user's other columns are deferred."""
    row = next(iter(_by_id.rows(id=session_id)), None)
    if row is None:
        return None
    alias, names = router.db_for_write(Session), _columns()
    session = Session.from_db(alias, names, row[: len(names)])
    fixed = len(names) + len(Summary._fields)
    password, *values = row[fixed:]
    user: Any = user_of(values)
    user.password = password
    attach(user, Summary(*row[len(names) : fixed]))
    session.user = user
    return session


def _genuine(token: str) -> tuple[RefreshToken, Session]:
    try:
        parsed = parse_refresh_token(token)
    except OpaqueInvalid:
        raise TokenInvalid from None
    session = _load(parsed.session_id)
    if session is None or not is_genuine(parsed, bytes.fromhex(session.salt), secret_ring(_PURPOSE)):
        raise TokenInvalid
    return parsed, session


def session_of_refresh_token(token: str) -> Session:
    """Return the session that a refresh token was made for, dead or alive, to end it. Raises TokenInvalid."""
    return _genuine(token)[1]


def rotate(token: str, *, request: AnyRequest) -> Rotation:
    """Exchange a refresh token for its successor, exactly once per generation.

    An older generation means that two parties hold the token: its session ends and both must sign in again
    (RFC 9700 §4.14.2). The previous one, while its successor is unacknowledged or within `REFRESH_GRACE`, is a
    lost answer or a second tab and gets the same successor.

    Raises TokenInvalid (never issued by us, nothing changes), LimitReached, SessionRevoked, SessionInactive, or
    RefreshReused (after revoking). Call it outside of a transaction that a refusal rolls back.
    """
    parsed, genuine = _genuine(token)
    scope_of(request).impersonator = genuine.impersonator_id
    reserve("refresh", "session", str(genuine.pk), request=request)
    found: Session | None = genuine
    while True:
        session = _refuse_if_over(found)
        behind = session.generation - parsed.generation
        if behind < 0:
            record(events.TOKEN_FUTURE, request=request, user=session.user_id, session_id=session.pk)
            raise TokenInvalid
        if behind == 0 and _swap(session):
            break
        if behind == 0:
            # Somebody was faster, or it ended: read again, decide again. Each round sees a later state, and
            # a generation that has passed never comes back.
            found = _load(session.pk)
            continue
        if behind == 1 and _is_in_grace(session):
            break
        _end_for_theft(session, request)
        raise RefreshReused
    record(events.TOKEN_RENEWED, request=request, user=session.user_id, session_id=session.pk)
    return Rotation(session, issue(session))


def renew(session: Session) -> None:
    """Move a session on to its next generation, as whoever holds it has proven again who they are (ASVS 7.2.4).

    A client that is not handed the new refresh token gets it for its old one, which is a lost answer.
    Raises SessionRevoked or SessionInactive when the session is over by now.
    """
    while not _swap(session):
        session.generation = _refuse_if_over(_load(session.pk)).generation


def _refuse_if_over(session: Session | None) -> Session:
    if session is None or session.revoked_at is not None or not session.user.is_active:
        raise SessionRevoked
    if session.password_fingerprint != password_fingerprint(session.user.password):
        raise SessionRevoked
    if session.impersonator_id is not None and not may_impersonate(session.impersonator_id, session.user):
        raise SessionRevoked
    if not session.is_alive:
        raise SessionInactive
    return session


def _next_generation() -> dict[str, Any]:
    # Not the idle deadline: a tab that polls refreshes too, and is no sign of a person. The first request with the
    # new access token moves it.
    return {"generation": F("generation") + 1, "acked": False, "rotated_at": Param("now", Session, "rotated_at")}


_rotation = PreparedUpdate(
    lambda: Session.objects.alive_at(
        idle_since=Param("idle_since", Session, "idle_at"),
        now=Param("now", Session, "absolute_at"),
    ).filter(pk=Param("id", Session, "id"), generation=Param("generation", Session, "generation")),
    _next_generation,
)


def _swap(session: Session) -> bool:
    """Move the session on by one generation, if nobody else has. Integers decide, not times."""
    now = timezone.now()
    moved = _rotation.run(
        id=session.pk, generation=session.generation, now=now, idle_since=now - conf.ACTIVITY_INTERVAL
    )
    if not moved:
        return False
    session.generation += 1
    session.rotated_at, session.acked = now, False
    refresh_copy(session.pk)
    return True


def _is_in_grace(session: Session) -> bool:
    return not session.acked or timezone.now() < session.rotated_at + conf.REFRESH_GRACE


def _end_for_theft(session: Session, request: AnyRequest) -> None:
    # The one whose UPDATE hits writes the event and the mail; a hundred replays make one of each.
    if not end_session(session.pk, user_id=session.user_id, reason=RefreshReused.code):
        return
    record(events.TOKEN_REUSE, request=request, user=session.user_id, session_id=session.pk)
    using = router.db_for_write(Session)
    told = partial(signals.refresh_reused.send_robust, sender=Session, session_id=session.pk, user_id=session.user_id)
    transaction.on_commit(told, using=using)
    tell("refresh_reused", session.user, request=request, device=session.device_label)
