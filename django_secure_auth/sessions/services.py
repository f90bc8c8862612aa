"""Open, check, touch, list and end sessions. One entrance per verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.db import router, transaction
from django.db.models import Case, Exists, Q, Value, When
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import SecureAuthError, SessionInactive, SessionRevoked
from django_secure_auth.kit.window import Window
from django_secure_auth.prepared import PreparedInsert
from django_secure_auth.rbac.services import is_privileged
from django_secure_auth.request_scope import AnyRequest, after_transaction, plain_request, scope_of
from django_secure_auth.sessions.models import Session, absolute_timeout, idle_timeout
from django_secure_auth.sessions.state import (
    State,
    bury,
    cached_state,
    keep_copy,
    password_fingerprint,
    read_state,
    refresh_copy,
)

MAY_IMPERSONATE = "django_secure_auth.add_impersonation"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Who signs in as somebody else, and why."""

    by: AbstractBaseUser
    reason: str


def open_session(
    user: AbstractBaseUser,
    *,
    request: AnyRequest,
    amr: Iterable[str],
    remember_me: bool = False,
    impersonation: Impersonation | None = None,
    replacing: Session | None = None,
) -> Session:
    """Open a session for a user who has been proven. `user_logged_in` and `session_opened` are sent.

    It takes the place of the one that the browser holds, `replacing`, which may be another user's (ASVS 7.2.4).

    With `impersonation` it is not the user who signs in: `user_logged_in` is not sent, no session of theirs makes room,
    and it is over after `IMPERSONATION_TTL`, used or not.

    With `MAX_SESSIONS_PER_USER` the oldest ones end; the user's row is locked for it, so that two sign-ins
    at once cannot both believe to be the last that fits.
    """
    now = timezone.now()
    scope = scope_of(request)
    lifetime = conf.IMPERSONATION_TTL if impersonation else absolute_timeout(remember_me=remember_me)
    absolute_at = now + lifetime
    session = Session(
        user_id=user.pk,
        password_fingerprint=password_fingerprint(user.password),
        rotated_at=now,
        created_at=now,
        last_seen_at=now,
        auth_time=now,
        idle_at=min(now + idle_timeout(remember_me=remember_me), absolute_at),
        absolute_at=absolute_at,
        remember_me=remember_me,
        amr=list(amr),
        ip_address=scope.ip_address,
        user_agent=scope.user_agent,
        device_label=scope.device_label,
        impersonator_id=impersonation.by.pk if impersonation else None,
        impersonation_reason=impersonation.reason if impersonation else "",
    )
    # Before the insert: Django notes `last_login`, which takes the user's row. The other way round, MariaDB's share of
    # that row for the foreign key comes first, and two sign-ins at once wait for each other: a deadlock.
    if impersonation is None:
        user_logged_in.send(sender=user.__class__, request=plain_request(request), user=user)
    _store(session, replacing)
    # After the user's row: whoever changes a password takes that first, and then ends sessions.
    if replacing is not None:
        end_session(replacing.pk, user_id=replacing.user_id, reason="replaced", actor=replacing.impersonator_id)
    record(
        events.SESSION_CREATED, request=request, user=user, actor=session.impersonator_id, session_id=session.pk,
        amr=session.amr, remember_me=remember_me,
    )  # fmt: skip
    transaction.on_commit(
        partial(signals.session_opened.send_robust, sender=Session, session=session, user=user, request=request),
        using=router.db_for_write(Session),
    )
    return session


def _unless_known_to_others(value_of: Callable[[str], Any]) -> Case:
    """A password that is marked as compromised in this very moment opens a session that is over, since it is of none.

    Whoever signs in has taken the user's row by then, for `last_login`, and who marks a password takes it too.
    """
    marked = get_user_model()._base_manager.filter(
        pk=value_of("user_id"), secure_auth_compromised__password_fingerprint=value_of("password_fingerprint")
    )
    return Case(When(Exists(marked), then=Value("")), default=value_of("password_fingerprint"))


_insert = PreparedInsert(Session)
_insert_by_password = PreparedInsert(Session, password_fingerprint=_unless_known_to_others)


def _store(session: Session, replacing: Session | None) -> None:
    limit, is_own = conf.MAX_SESSIONS_PER_USER, session.impersonator_id is None
    insert = _insert_by_password if is_own and "pwd" in session.amr else _insert
    if not limit or not is_own:
        insert.insert(session)
        return
    going = {session.pk, replacing.pk if replacing is not None else None}
    with transaction.atomic(using=router.db_for_write(Session)):
        lock_user(session.user_id)
        insert.insert(session)
        living = Session.objects.primary().filter(user=session.user_id).own().alive().order_by("-created_at", "-pk")
        surplus = [pk for pk in living.values_list("pk", flat=True) if pk not in going][limit - 1 :]
        end_sessions(surplus, user_id=session.user_id, reason="limit")


def lock_user(user_id: Any) -> Any:
    """Return a user whose row nobody else writes until the transaction ends, as it is now; None for who is gone.

    It is taken first, and then sessions, keys and whatever else is the user's: who signs in, changes a password or
    closes an account off waits for the others, and for nobody in a circle.
    """
    model = get_user_model()
    return model._base_manager.using(router.db_for_write(model)).select_for_update().filter(pk=user_id).first()


def require_open(session_id: UUID, user: AbstractBaseUser) -> None:
    """Raise SessionRevoked unless a session of a locked user is open: what is done in it now was begun before."""
    living = Session.objects.primary().for_user(user).alive()
    if not living.filter(pk=session_id, password_fingerprint=password_fingerprint(user.password)).exists():
        raise SessionRevoked


# --- the check of every request ----------------------------------------------------------------------


def _refusal(state: State | None, now: float) -> SecureAuthError | None:
    if state is None or state.is_revoked or not state.user_is_unchanged:
        return SessionRevoked()
    if now >= state.absolute_at or now >= state.idle_at + conf.ACTIVITY_INTERVAL.total_seconds():
        return SessionInactive()
    return None


def alive(session_id: UUID, user_id: str) -> State:
    """Return the state of a living session: not revoked, not idle, not past its deadline, user unchanged.

    `user_id` is whose it is, as the access token says; the caller compares it with `state.user()`.

    One query, or with `STATE_CACHE` one cache trip. A copy is believed when it says yes; each no is asked of
    the database. The idle check grants `ACTIVITY_INTERVAL`, since last-seen may be late by as much.

    Raises SessionRevoked or SessionInactive.
    """
    now = timezone.now().timestamp()
    state = cached_state(session_id, user_id)
    if state is not None and _refusal(state, now) is None and not _is_impersonation_over(state):
        return state
    state = read_state(session_id)
    refusal = _refusal(state, now)
    if state is not None and refusal is None and _is_impersonation_over(state):
        refusal = SessionRevoked()
    if refusal is not None or state is None:
        _tell_use_after_end(session_id, refusal)
        raise refusal or SessionRevoked()
    keep_copy(session_id, state)
    return state


def _is_impersonation_over(state: State) -> bool:
    return state.impersonator is not None and not may_impersonate(state.impersonator, state.user())


def may_impersonate(impersonator_id: Any, user: AbstractBaseUser) -> bool:
    """Tell whether somebody may be signed in as a user, now: asked with every request of such a session.

    Whoever may has the permission `add_impersonation`. Nobody may be signed in as staff, a superuser or a holder of a
    role with `requires_otp`, or one permission would open all the others; nor as themselves.
    """
    model = get_user_model()
    found: Any = model._base_manager.using(router.db_for_write(model)).filter(pk=impersonator_id).first()
    is_allowed = found is not None and found.is_active and found.has_perm(MAY_IMPERSONATE)
    return bool(is_allowed and user.is_active and found.pk != user.pk and not is_privileged(user))


_told: Window[UUID] = Window(300)


def _tell_use_after_end(session_id: UUID, refusal: SecureAuthError | None) -> None:
    # Once in five minutes for each session and process: a tab that polls after sign-out is not an attack,
    # and must not fill the trail.
    if _told.count(session_id) == 1:
        record(events.SESSION_USE_AFTER_END, session_id=session_id, reason=refusal.code if refusal else "")


def touch(session_id: UUID, state: State, *, generation: int) -> None:
    """Write last-seen when it is older than `ACTIVITY_INTERVAL`, and acknowledge a generation at its first use.

    One conditional UPDATE, after the request's transaction, so that no row lock outlives this statement.
    """
    now = timezone.now()
    if _is_first_use(state, generation) or now.timestamp() - state.last_seen >= conf.ACTIVITY_INTERVAL.total_seconds():
        write = partial(_touch, session_id, state, generation, now)
        after_transaction(write, using=router.db_for_write(Session))


def _touch(session_id: UUID, state: State, generation: int, now: datetime) -> None:
    absolute_at = datetime.fromtimestamp(state.absolute_at, UTC)
    (
        Session.objects.filter(pk=session_id, revoked_at=None)
        .filter(Q(last_seen_at__lt=now - conf.ACTIVITY_INTERVAL) | Q(generation=generation, acked=False))
        .update(
            last_seen_at=now,
            idle_at=min(now + idle_timeout(remember_me=state.remember_me), absolute_at),
            acked=Case(When(generation=generation, then=Value(True)), default="acked"),
        )
    )
    # Also when nothing was changed: then the row is ahead of the copy, and the copy would ask for this again and again.
    refresh_copy(session_id)


def acknowledge(session_id: UUID, state: State, *, generation: int) -> None:
    """Acknowledge a generation at its first use by background traffic, which keeps nothing alive.

    The grace of the refresh token before it ends with that, whoever used the new one.
    """
    if _is_first_use(state, generation):
        after_transaction(partial(_acknowledge, session_id, generation), using=router.db_for_write(Session))


def _is_first_use(state: State, generation: int) -> bool:
    return generation > state.generation or (generation == state.generation and not state.acked)


def _acknowledge(session_id: UUID, generation: int) -> None:
    Session.objects.filter(pk=session_id, revoked_at=None, generation=generation, acked=False).update(acked=True)
    refresh_copy(session_id)


# --- ending ------------------------------------------------------------------------------------------


def end_session(session_id: UUID, *, user_id: Any, reason: str, actor: Any = None) -> bool:
    """End one session at once, everywhere. Returns whether it was this call that ended it."""
    return end_sessions([session_id], user_id=user_id, reason=reason, actor=actor) == 1


def end_sessions(session_ids: Iterable[UUID], *, user_id: Any, reason: str, actor: Any = None) -> int:
    """End sessions of one user; each is ended once, by whoever's UPDATE hits it.

    `reason` is a short word for lists and the trail: `sign_out`, `replaced`, `limit`, `refresh_reused`, …
    `actor` is who ends them (a user or its id), when that is not their user: an administrator; "" for
    nobody, as from a shell.
    Raises StateUnavailable, having changed nothing, when the state cache is away.
    """
    ids = list(session_ids)
    if not ids:
        return 0
    bury(ids)
    ended = [
        pk
        for pk in ids
        if Session.objects.filter(pk=pk, revoked_at=None).update(revoked_at=timezone.now(), revoked_reason=reason)
    ]
    for pk in ended:
        record(events.SESSION_ENDED, user=user_id, actor=actor, session_id=pk, reason=reason)
        transaction.on_commit(
            partial(signals.session_ended.send_robust, sender=Session, session_id=pk, user_id=user_id, reason=reason),
            using=router.db_for_write(Session),
        )
    return len(ended)


def end_all(user: AbstractBaseUser, *, reason: str, keep: UUID | None = None, actor: Any = None) -> int:
    """End every living session of a user but `keep`; returns how many. `actor` as in `end_sessions`.

    Sessions in which the user is signed in as somebody else end too.
    """
    end_all_of_impersonator(user, reason=reason, actor=actor)
    living = Session.objects.primary().for_user(user).filter(revoked_at=None).values_list("pk", flat=True)
    return end_sessions([pk for pk in living if pk != keep], user_id=user.pk, reason=reason, actor=actor)


def end_all_of_impersonator(user: AbstractBaseUser, *, reason: str, actor: Any = None) -> None:
    """End every living session in which `user` is signed in as somebody else."""
    living = Session.objects.primary().by_impersonator(user).filter(revoked_at=None)
    for pk, other in living.values_list("pk", "user_id"):
        end_session(pk, user_id=other, reason=reason, actor=user if actor is None else actor)


def rehash(user: AbstractBaseUser, *, old_hash: str) -> None:
    """Keep a user's sessions alive when sign-in stored the same password under a better hash."""
    Session.objects.for_user(user).filter(password_fingerprint=password_fingerprint(old_hash), revoked_at=None).update(
        password_fingerprint=password_fingerprint(user.password)
    )


def keep_under(user: AbstractBaseUser, session_id: UUID) -> None:
    """Keep one session alive under the user's new password: that of the browser which has changed it."""
    Session.objects.for_user(user).filter(pk=session_id, revoked_at=None).update(
        password_fingerprint=password_fingerprint(user.password)
    )


def prove_again(session: Session, *, amr: Iterable[str]) -> bool:
    """Note that whoever holds a session has just proven again who they are. False when it is over by now.

    Copies of its state are buried, or one that was read a moment ago would ask for the proof once more. Raises
    StateUnavailable, having changed nothing, when the state cache is away.
    """
    bury((session.pk,))
    session.auth_time = timezone.now()
    session.amr = list(dict.fromkeys([*session.amr, *amr]))
    living = Session.objects.alive().filter(pk=session.pk)
    return bool(living.update(auth_time=session.auth_time, amr=session.amr))


def purge(*, before: datetime) -> int:
    """Delete sessions that ended before a moment. Returns how many."""
    return Session.objects.over(before=before)._raw_delete(router.db_for_write(Session))
