"""The stories: sign in, approve a code, refresh, sign out. Each reads top to bottom."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any
from zlib import crc32

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import check_password, get_hasher, identify_hasher
from django.contrib.auth.signals import user_logged_out
from django.db import DatabaseError, router, transaction
from django.db.models import Q
from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from django_secure_auth.accounts import cookies
from django_secure_auth.accounts.cookies import read_cookie, read_cookies, wants_tokens_in_body
from django_secure_auth.accounts.models import CanonicalEmailField
from django_secure_auth.accounts.serializers import challenge_body, rfc3339, session_body, user_body
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import (
    ChallengeInvalid,
    InvalidCredentials,
    RateLimited,
    SecureAuthError,
    SessionInactive,
    SessionRevoked,
    TokenInvalid,
    Unauthenticated,
    rate_limit_headers,
)
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.otp.policy import is_code_required
from django_secure_auth.ratelimit.services import LimitReached, Reservation, give_back, reserve
from django_secure_auth.request_scope import AnyRequest, plain_request, scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session, open_session, rehash
from django_secure_auth.tokens.authentication import access_cookie, bearer_token, has_explicit_credential
from django_secure_auth.tokens.services import (
    Rotation,
    Tokens,
    issue,
    rotate,
    session_of_access_token,
    session_of_refresh_token,
)

LOGIN = "login"
_LOOKALIKES = 1000
"""How many addresses a collation may hold for one: so many that nobody hides an account behind look-alikes."""


# --- the password ------------------------------------------------------------------------------------


def find_account(typed: str) -> AbstractBaseUser | None:
    """Return the account of an e-mail address, in one query whether it exists or not.

    A collation may find more than the canonical form allows (`ádmin` for `admin`), and old tables hold twins
    that differ in case: then only an exact match counts, and at most one.
    """
    model = get_user_model()
    name = model.get_email_field_name()
    identifier = canonical_identifier(typed)
    if isinstance(model._meta.get_field(name), CanonicalEmailField):
        wanted = Q(**{name: identifier})
    else:
        wanted = Q(**{f"{name}__iexact": identifier}) | Q(**{name: typed})
    found = [
        user
        for user in model._default_manager.filter(wanted)[:_LOOKALIKES]
        if canonical_identifier(getattr(user, name) or "") == identifier
    ]
    if len(found) > 1:
        found = [user for user in found if getattr(user, name) == typed]
    return found[0] if len(found) == 1 else None


# One password check of an account at a time in each process: parallel guesses neither slip past a limit nor
# burn every core. Striped by hash, so that the memory is bounded and unknown accounts wait alike.
_STRIPES = [threading.Lock() for _ in range(256)]
_WAIT_SECONDS = 10.0


@contextmanager
def _one_check_at_a_time(identifier: str) -> Iterator[None]:
    lock = _STRIPES[crc32(identifier.encode("utf-8", "surrogatepass")) % len(_STRIPES)]
    if not lock.acquire(timeout=_WAIT_SECONDS):
        raise RateLimited(headers=rate_limit_headers("login_in_flight", quota=1, window=1, wait=1))
    try:
        yield
    finally:
        lock.release()


def count(request: AnyRequest, limit: str, *parts: str, fail_open: bool = False) -> Reservation | None:
    """Reserve an attempt; the first refusal of a window is written to the trail. Raises what `reserve` raises."""
    try:
        return reserve(limit, *parts, fail_open=fail_open)
    except LimitReached as refusal:
        if refusal.is_first:
            record(events.RATE_LIMIT, request=request, endpoint=plain_request(request).path, limit=limit)
        raise


def reserve_attempt(request: AnyRequest, identifier: str, *, device: str | None) -> tuple[Reservation | None, ...]:
    """Count a sign-in attempt before it is judged. `device` is the secret of a device trusted for this account.

    A trusted device has a budget of its own, which no stranger can use up; all strangers share one for each
    account, and one for each address. Raises LimitReached, or StateUnavailable: sign-in fails closed.
    Source: OWASP "Slow down online guessing attacks with device cookies"; ASVS 6.3.1.
    """
    if device is not None:
        return (count(request, "login_device", identifier, device),)
    address = address_prefix(scope_of(request).ip_address)
    return (count(request, "login_address", address), count(request, "login_account", identifier))


def prove_password(
    request: AnyRequest, found: AbstractBaseUser | None, password: str, *, identifier: str
) -> AbstractBaseUser:
    """Let the authentication backends judge a password; the same work when there is no such account.

    Only `authenticate()` decides, so that a backend which refuses somebody is obeyed. For an unknown account it
    is asked for a name that nobody has, and hashes all the same. Raises InvalidCredentials.
    """
    name = found.get_username() if found is not None else secrets.token_hex(16)
    with _one_check_at_a_time(identifier), _upgrade_at_once(found):
        user = _authenticate(request, name, password)
        if user is not None and found is not None and user.password != found.password:
            _keep_sessions(user, found, password)
    if user is None or found is None or user.pk != found.pk:
        reason = "unknown" if found is None else "wrong_password" if found.is_active else "inactive"
        record(events.LOGIN_FAIL, request=request, user=found, reason=reason)
        raise InvalidCredentials
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
    forms = dict.fromkeys((unicodedata.normalize("NFC", password), password))
    if user.pk == found.pk and any(check_password(form, found.password) for form in forms):
        rehash(user, old_hash=found.password)


def _authenticate(request: AnyRequest, name: str, password: str) -> AbstractBaseUser | None:
    field = get_user_model().USERNAME_FIELD
    bare = plain_request(request)
    normal = unicodedata.normalize("NFC", password)
    user = authenticate(bare, **{field: name, "password": normal})
    if user is None and normal != password:
        # Set elsewhere, where nothing was normalised. Depends on what was typed only, so it tells nothing.
        user = authenticate(bare, **{field: name, "password": password})
    return user


def log_in_with_password(
    request: AnyRequest, *, email: str, password: str, remember_me: bool, device: str | None
) -> Response:
    """Sign in with a password: 200 with a session, or 202 with a challenge.

    Raises LimitReached, InvalidCredentials, StateUnavailable, and what `log_in` raises.
    """
    identifier = canonical_identifier(email)
    found = find_account(email)
    trusting = otp.users_of_device(device)
    is_trusted = found is not None and found.pk in trusting
    taken = reserve_attempt(request, identifier, device=device if is_trusted else None)
    user = prove_password(request, found, password, identifier=identifier)
    give_back(*taken)
    return _log_in(request, user, amr=["pwd"], remember_me=remember_me, is_trusted_device=is_trusted)


# --- opening -----------------------------------------------------------------------------------------


def log_in(request: AnyRequest, user: AbstractBaseUser, *, amr: Iterable[str], remember_me: bool = False) -> Response:
    """Sign in a user who was proven elsewhere (social login, SAML, a test), under the same policy as everybody.

    `amr` says how (RFC 8176), such as `["sso"]`. Returns the contract's 200 or 202 with its cookies; use
    `copy_cookies` to move them to an answer of your own. There is no other way to a session: a second step that
    the policy asks for is asked for here too.

    Raises InvalidCredentials for an inactive user, LimitReached, PolicyRejected, DeliveryUnavailable.
    """
    if not user.is_active:
        record(events.LOGIN_FAIL, request=request, user=user, reason="inactive")
        raise InvalidCredentials
    is_trusted = user.pk in otp.users_of_device(read_cookie(request, "device"))
    return _log_in(request, user, amr=amr, remember_me=remember_me, is_trusted_device=is_trusted)


def _log_in(
    request: AnyRequest, user: AbstractBaseUser, *, amr: Iterable[str], remember_me: bool, is_trusted_device: bool
) -> Response:
    otp.close(read_cookie(request, "challenge"), reason="replaced")
    with _unless_deleted(user, InvalidCredentials):
        if is_code_required(user, request, is_trusted_device=is_trusted_device):
            started = start_code(request, user, purpose=LOGIN, amr=amr, remember_me=remember_me)
            return challenge_response(request, started.challenge, secret=started.secret)
        return _open(request, user, amr=amr, remember_me=remember_me)


@contextmanager
def _unless_deleted(user: AbstractBaseUser, refusal: type[SecureAuthError]) -> Iterator[None]:
    """An account that is deleted in this very moment is one that is not there: its rows are refused, and so is it."""
    try:
        yield
    except DatabaseError:  # a foreign key, or `last_login` that found no row
        if get_user_model()._base_manager.filter(pk=user.pk).exists():
            raise
        raise refusal from None


def start_code(
    request: AnyRequest, user: AbstractBaseUser, *, purpose: str, amr: Iterable[str], remember_me: bool = False
) -> otp.Started:
    """Open a challenge, within the limit of codes for each account."""
    count(request, "otp", str(user.pk))
    return otp.start(user, purpose=purpose, request=request, amr=amr, remember_me=remember_me)


def finish_log_in(request: AnyRequest, *, code: str, secret: str | None, device: str | None) -> Response:
    """Approve the code of this browser's challenge and open its session. Raises ChallengeInvalid or OTPInvalid."""
    challenge = otp.find(secret)
    if challenge.purpose != LOGIN:
        raise ChallengeInvalid
    otp.verify(challenge, code, request=request)
    user: Any = challenge.user
    with _unless_deleted(user, ChallengeInvalid):
        trusted = otp.trust_device(user, secret=device, request=request)
        response = _open(
            request, user, amr=[*challenge.amr, "email"], remember_me=challenge.remember_me, device=trusted
        )
    if not wants_tokens_in_body(request):
        cookies.clear(response, "challenge")
    return response


def resend_code(request: AnyRequest, *, secret: str | None) -> Response:
    """Mail a fresh code for this browser's challenge. Raises ChallengeInvalid, RateLimited, DeliveryUnavailable."""
    challenge = otp.find(secret)
    count(request, "otp", str(challenge.user_id))
    return challenge_response(request, otp.resend(challenge, request=request))


def _open(
    request: AnyRequest, user: AbstractBaseUser, *, amr: Iterable[str], remember_me: bool, device: str | None = None
) -> Response:
    old = _old_session(request)
    with transaction.atomic(using=router.db_for_write(Session)):
        if old is not None:
            # ASVS 7.2.4: a sign-in replaces the browser's session, also another user's.
            end_session(old.pk, user_id=old.user_id, reason="replaced")
        session = open_session(user, request=request, amr=amr, remember_me=remember_me)
    record(events.LOGIN_SUCCESS, request=request, user=user, session_id=session.pk, amr=session.amr)
    return _session_response(request, session, user, issue(session), device=device)


def _old_session(request: AnyRequest) -> Session | None:
    try:
        return _session_of(request)
    except TokenInvalid:  # the user has been proven by other means: what came along does not matter
        return None


# --- going on ----------------------------------------------------------------------------------------


def refresh(request: AnyRequest, *, token: str | None) -> Response:
    """Exchange the refresh token for its successor. `token` is the one of the body, when bodies carry tokens."""
    count(request, "refresh", address_prefix(scope_of(request).ip_address), fail_open=True)
    candidates = [token] if token else read_cookies(request, "refresh")
    if token is None and has_explicit_credential(request):
        raise TokenInvalid  # an explicit credential alone decides, and none of them refreshes anything
    if not candidates:
        raise Unauthenticated
    rotation = _rotate_first_living(request, candidates)
    response = _session_response(request, rotation.session, rotation.session.user, rotation.tokens)
    if len(candidates) > 1:
        cookies.clear_duplicates(response)
    return response


def _rotate_first_living(request: AnyRequest, candidates: list[str]) -> Rotation:
    # A duplicate that an earlier mount point left behind is mostly genuine: of a session that is over.
    refusal: Unauthenticated = TokenInvalid()
    for candidate in candidates:
        try:
            return rotate(candidate, request=request)
        except (TokenInvalid, SessionRevoked, SessionInactive) as error:
            refusal = error
    raise refusal


# --- going away --------------------------------------------------------------------------------------


def log_out(request: AnyRequest) -> Response:
    """End the session of this request, if it has one, and clear what the browser holds. Always the same answer.

    An explicit bearer token alone decides which session ends; TokenInvalid when it is garbled or another kind.
    """
    session = _session_of(request)
    if session is not None:
        end_session(session.pk, user_id=session.user_id, reason="sign_out")
        user_logged_out.send(sender=session.user.__class__, request=plain_request(request), user=session.user)
    otp.close(read_cookie(request, "challenge"), reason="sign_out")
    response = _renderable(Response(status=204))
    cookies.clear(response, "access", "refresh", "challenge")
    if len(read_cookies(request, "refresh")) > 1:
        cookies.clear_duplicates(response)
    # Not "cookies": that would clear the whole registrable domain, the neighbours' too.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def _session_of(request: AnyRequest) -> Session | None:
    """Return the session that this browser holds, dead or alive: by its refresh token, else its access token."""
    token = bearer_token(request)
    if token is not None:
        return session_of_access_token(token)
    if has_explicit_credential(request):
        raise TokenInvalid
    found = [session for value in read_cookies(request, "refresh") if (session := _session_of_refresh(value))]
    if found:
        return next((session for session in found if session.is_alive), found[0])
    access = access_cookie(request)
    if access is None or wants_tokens_in_body(request):
        return None
    try:
        return session_of_access_token(access)
    except TokenInvalid:
        return None


def _session_of_refresh(token: str) -> Session | None:
    try:
        return session_of_refresh_token(token)
    except TokenInvalid:
        return None


# --- answers -----------------------------------------------------------------------------------------


def _renderable(response: Response) -> Response:
    # So that a plain Django view may return it; a DRF view puts its own renderer in.
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = "application/json"
    response.renderer_context = {}  # type: ignore[attr-defined]  # set by DRF's views, unknown to the stubs
    return response


def _session_response(
    request: AnyRequest, session: Session, user: AbstractBaseUser, tokens: Tokens, *, device: str | None = None
) -> Response:
    body: dict[str, Any] = {
        "status": "authenticated",
        "user": user_body(user),
        "session": session_body(session),
        "access_expires_at": rfc3339(tokens.access_expires_at),
    }
    if wants_tokens_in_body(request):
        body |= {"access_token": tokens.access, "refresh_token": tokens.refresh, "token_type": "Bearer"}
        if device is not None:
            body["device_token"] = device
        return _renderable(Response(body))
    response = _renderable(Response(body))
    keep_until: datetime | None = session.idle_at if session.remember_me else None
    cookies.write_tokens(response, tokens, keep_until=keep_until)
    if device is not None:
        cookies.write_device(response, device)
    return response


def challenge_response(request: AnyRequest, challenge: OTPChallenge, *, secret: str | None = None) -> Response:
    """202: a code is on its way. `secret` is given once, when the challenge is new."""
    body: dict[str, Any] = {"status": "otp_required", "challenge": challenge_body(challenge)}
    if secret is not None and wants_tokens_in_body(request):
        body["challenge_token"] = secret
    response = _renderable(Response(body, status=202))
    if secret is not None and not wants_tokens_in_body(request):
        cookies.write_challenge(response, secret)
    return response


def copy_cookies(source: HttpResponse, target: HttpResponse) -> None:
    """Move the cookies of `log_in()` or `log_out()` to an answer of your own."""
    cookies.copy_cookies(source, target)
