"""The password: whose it is, how often it may be guessed, and whether it is right."""

from __future__ import annotations

import hmac
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import check_password, get_hasher, identify_hasher
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models import Q

from django_secure_auth.audit import events
from django_secure_auth.audit.events import Event
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.exceptions import InvalidCredentials, PasswordRejected, RateLimited, rate_limit_headers
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.notices.services import told_here
from django_secure_auth.passwords.fields import CanonicalEmailField
from django_secure_auth.passwords.models import CompromisedPassword
from django_secure_auth.passwords.validators import is_breached
from django_secure_auth.prepared import Param, PreparedSelect, same_in_any_case
from django_secure_auth.ratelimit.services import Reservation, give_back, keep, reserve, reserve_member, watch
from django_secure_auth.request_scope import AnyRequest, plain_request, scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import rehash
from django_secure_auth.sessions.state import password_fingerprint, user_columns, user_of

_COMPROMISED = "_secure_auth_compromised"
_LOOKALIKES = 1000
"""How many addresses a collation may hold for one: so many that nobody hides an account behind look-alikes."""


def find_account(typed: str) -> AbstractBaseUser | None:
    """Return the account of an e-mail address, in one query whether it exists or not.

    A collation may find more than the canonical form allows (`ádmin` for `admin`), and old tables hold twins
    that differ in case: then only an exact match counts, and at most one.
    """
    name = get_user_model().get_email_field_name()
    identifier = canonical_identifier(typed)
    found = [
        user
        for user in _accounts_like(identifier, typed)
        if canonical_identifier(getattr(user, name) or "") == identifier
    ]
    if len(found) > 1:
        found = [user for user in found if getattr(user, name) == typed]
    return found[0] if len(found) == 1 else None


def _accounts_like(identifier: str, typed: str) -> Iterator[AbstractBaseUser]:
    model = get_user_model()
    if type(model._default_manager).get_queryset is models.Manager.get_queryset:
        for password, compromised, *values in _prepared.rows(identifier=identifier, typed=typed):
            user = user_of(values)
            user.password = password
            setattr(user, _COMPROMISED, compromised or "")
            yield user
    else:  # a manager of the project's own may choose anew each time: by tenant, say
        in_any_case = Q(**{f"{model.get_email_field_name()}__iexact": identifier})
        yield from _look_alikes(identifier, typed, in_any_case)


def _look_alikes(identifier: Any, typed: Any, in_any_case: Any) -> models.QuerySet[Any]:
    model = get_user_model()
    name = model.get_email_field_name()
    is_canonical = isinstance(model._meta.get_field(name), CanonicalEmailField)
    wanted = Q(**{name: identifier}) if is_canonical else Q(in_any_case) | Q(**{name: typed})
    return model._default_manager.filter(wanted)[:_LOOKALIKES]


def _with_parameters() -> models.QuerySet[Any, Any]:
    model = get_user_model()
    name = model.get_email_field_name()
    identifier, typed = Param("identifier", model, name), Param("typed", model, name)
    look_alikes = _look_alikes(identifier, typed, same_in_any_case("identifier", model, name))
    return look_alikes.values_list("password", "secure_auth_compromised__password_fingerprint", *user_columns())


_prepared = PreparedSelect(_with_parameters)


# One password check of an account at a time in each process: parallel guesses neither slip past a limit nor
# burn every core. Striped by a hash that differs in each process, so that the memory is bounded, unknown accounts
# wait alike, and nobody can choose names that share a stripe. Known browsers wait for one another only.
_STRANGERS, _KNOWN = ([threading.Lock() for _ in range(256)] for _ in range(2))
_WAIT_SECONDS = 10.0


@contextmanager
def _one_check_at_a_time(identifier: str, *, is_known_device: bool) -> Iterator[None]:
    stripes = _KNOWN if is_known_device else _STRANGERS
    lock = stripes[hash(identifier) % len(stripes)]
    if not lock.acquire(timeout=_WAIT_SECONDS):
        raise RateLimited(headers=rate_limit_headers("login_in_flight", quota=1, window=1, wait=1))
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in attempt that has been counted and waits for its judgement."""

    identifier: str
    is_known_device: bool
    taken: tuple[Reservation | None, ...]


def reserve_attempt(request: AnyRequest, identifier: str, *, device: str | None) -> Attempt:
    """Count a sign-in attempt. `device` is the secret of a browser that has signed in to this account before.

    Such a browser has a budget of its own, which no stranger can use up; all strangers share one for each account,
    and one for each address. Raises LimitReached, or StateUnavailable: sign-in fails closed.
    Source: OWASP "Slow down online guessing attacks with device cookies"; ASVS 6.3.1.
    """
    if device is not None:
        return Attempt(identifier, True, (reserve("login_device", identifier, device, request=request),))
    address = address_prefix(scope_of(request).ip_address)
    taken = (
        reserve("login_address", address, request=request),
        *_reserve_for_site(request, address),
        reserve("login_account", identifier, request=request),
    )
    return Attempt(identifier, False, taken)


# --- many accounts from many addresses ---------------------------------------------------------------
#
# Credential stuffing, where no account and no address reaches a limit of its own. Two traces are left: whoever tries
# one password on every account leaves the password; whoever tries on each the one that has leaked leaves the failures
# of the whole site. What is slowed are strangers. A browser that has signed in to the account before is counted by
# neither, or an attacker could keep everybody out by noise.

_STUFFING = "credential_stuffing"
_FINGERPRINT_BYTES = 8


def _reserve_for_site(request: AnyRequest, address: str) -> tuple[Reservation | None, ...]:
    """Count an attempt for the whole site; while there are too many, an address has fewer than usual.

    The site itself never closes: whoever sends enough wrong passwords could close it for everybody.
    """
    for_site, is_alarm = watch("login_site", request=request, description=_STUFFING)
    return for_site, reserve("login_address_alarm", address, request=request) if is_alarm else None


def _reserve_password(request: AnyRequest, identifier: str, password: str) -> Reservation | None:
    """Count an account against those that strangers have tried this password on, known or not.

    Neither is stored: the cache holds a truncated HMAC under a key of its own, and hashes.
    """
    return reserve_member(
        "login_password", _fingerprint(password), member=identifier, request=request, description=_STUFFING
    )


def _fingerprint(password: str) -> str:
    typed = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hmac.digest(secret_ring("stuffing").first.value, typed, "sha256")[:_FINGERPRINT_BYTES].hex()


# --- the judgement -----------------------------------------------------------------------------------


def prove_password(
    request: AnyRequest,
    found: AbstractBaseUser | None,
    password: str,
    attempt: Attempt,
    *,
    refused: Event = events.LOGIN_FAIL,
) -> AbstractBaseUser:
    """Let the authentication backends judge a password, and give the attempt back when it is right.

    Only `authenticate()` decides, so that a backend which refuses somebody is obeyed. For an unknown account it is
    asked for a name that nobody has, and hashes all the same.

    Raises InvalidCredentials, LimitReached when strangers have tried this password on too many accounts, or RateLimited
    when another check of the account takes too long: not judged, not counted.
    """
    tried = None if attempt.is_known_device else _reserve_password(request, attempt.identifier, password)
    try:
        user = _judge(request, found, password, attempt)
    except RateLimited:
        give_back(*attempt.taken, tried)
        raise
    if user is None or found is None or user.pk != found.pk:
        reason = "unknown" if found is None else "wrong_password" if found.is_active else "inactive"
        keep(tried)
        record(refused, request=request, user=found, reason=reason)
        raise InvalidCredentials
    give_back(*attempt.taken, tried)
    return user


def _judge(
    request: AnyRequest, found: AbstractBaseUser | None, password: str, attempt: Attempt
) -> AbstractBaseUser | None:
    name = found.get_username() if found is not None else secrets.token_hex(16)
    with _one_check_at_a_time(attempt.identifier, is_known_device=attempt.is_known_device), _upgrade_at_once(found):
        user = _authenticate(request, name, password)
        if user is not None and found is not None and user.password != found.password:
            _keep_sessions(user, found, password)
    return user


def _upgrade_at_once(found: AbstractBaseUser | None) -> AbstractContextManager[None]:
    """A better hash and the sessions' knowledge of it are committed together, or other tabs meet the one without
    the other and are refused. Only where a hash is outdated: else no transaction is open while it is computed."""
    if found is None or not _is_outdated(found.password):
        return nullcontext()
    atomic: AbstractContextManager[None] = transaction.atomic(using=router.db_for_write(Session))
    return atomic


def _is_outdated(encoded: str) -> bool:
    try:
        hasher = identify_hasher(encoded)
    except ValueError:  # unusable, or made by a hasher that is no longer installed
        return False
    return hasher.algorithm != get_hasher().algorithm or hasher.must_update(encoded)


def _keep_sessions(user: AbstractBaseUser, found: AbstractBaseUser, password: str) -> None:
    # Stored anew while signing in. It is the same password only if the old hash says so: somebody may have
    # changed it in this very moment.
    if user.pk == found.pk and is_password_of(password, found.password):
        rehash(user, old_hash=found.password)
        # Also a mark that was made meanwhile: whoever made it had the old hash before them.
        marks = CompromisedPassword.objects.filter(
            user=user.pk, password_fingerprint=password_fingerprint(found.password)
        )
        marks.update(password_fingerprint=password_fingerprint(user.password))


def is_password_of(password: str, encoded: str) -> bool:
    """Tell whether a password, normalised or as typed, is the one of a stored hash. Costs one hash or two."""
    forms = dict.fromkeys((unicodedata.normalize("NFC", password), password))
    return any(check_password(form, encoded) for form in forms)


def _authenticate(request: AnyRequest, name: str, password: str) -> AbstractBaseUser | None:
    field = get_user_model().USERNAME_FIELD
    bare = plain_request(request)
    normal = unicodedata.normalize("NFC", password)
    user = authenticate(bare, **{field: name, "password": normal})
    if user is None and normal != password:
        # Set elsewhere, where nothing was normalised. Depends on what was typed only, so it tells nothing.
        user = authenticate(bare, **{field: name, "password": password})
    return user


# --- another password --------------------------------------------------------------------------------


def judge_new_password(password: str, user: Any, *, old: str = "", field: str = "new_password") -> None:
    """Ask the project's `AUTH_PASSWORD_VALIDATORS`. Raises PasswordRejected, which says everything that is wrong."""
    wrong: list[str] = []
    if password == unicodedata.normalize("NFC", old):
        wrong.append("This is the password that you have now.")
    try:
        validate_password(password, user)
    except ValidationError as refusal:
        wrong.extend(refusal.messages)
    if wrong:
        raise PasswordRejected(errors={field: wrong})


def is_compromised(user: AbstractBaseUser) -> bool:
    """Tell whether a user's password, as loaded, is known to others. No query for who comes from `find_account`."""
    known = getattr(user, _COMPROMISED, None)
    if known is None:
        rows = CompromisedPassword.objects.using(router.db_for_write(CompromisedPassword)).filter(user=user.pk)
        known = rows.values_list("password_fingerprint", flat=True).first()
    return known == password_fingerprint(user.password)


def is_known_to_others(user: AbstractBaseUser, password: str) -> bool:
    """Tell whether a right password is marked as compromised, or with `BREACHED_AT_SIGN_IN` listed as breached."""
    return is_compromised(user) or (conf.BREACHED_AT_SIGN_IN and is_breached(password))


def scramble_password(user: AbstractBaseUser) -> None:
    """Store a password that nobody knows, whatever there is now: the owner chooses one by a mailed link."""
    user.set_password(secrets.token_urlsafe(32))
    with told_here(user):
        user.save(update_fields=["password"])


def replace_password(user: AbstractBaseUser, password: str) -> None:
    """Store another password in the place of the one that `user` was loaded with.

    Of two at once one comes through: the other finds a hash that it has not proven. Call it inside a transaction,
    together with what ends what was opened under the old one. Raises InvalidCredentials for whoever came second.
    """
    model = get_user_model()
    old, as_loaded = user.password, user.__class__._base_manager.using(router.db_for_write(model))
    user.set_password(password)
    if not as_loaded.filter(pk=user.pk, password=old).update(password=user.password):
        raise InvalidCredentials
    with told_here(user):
        user.save(update_fields=["password"])  # for whoever listens to the user model, our own state cache too
