"""The stories: sign in, approve a code, refresh, sign out. Each reads top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router, transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from django_secure_auth import signals
from django_secure_auth.accounts.serializers import challenge_body, rfc3339, session_body, user_body
from django_secure_auth.addresses import services as addresses
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import (
    ChallengeInvalid,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    PasswordRejected,
    SecureAuthError,
    SessionInactive,
    SessionRevoked,
    TokenInvalid,
    Unauthenticated,
)
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.kit.seals import canonical
from django_secure_auth.mail import address_of
from django_secure_auth.notices.services import tell
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.otp.policy import is_code, is_code_required
from django_secure_auth.passwords.services import (
    find_account,
    is_known_to_others,
    judge_new_password,
    prove_password,
    replace_password,
    reserve_attempt,
)
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.rbac.permissions import refuse_impersonation
from django_secure_auth.recovery.services import refuse_compromised
from django_secure_auth.request_scope import AnyRequest, Credentials, plain_request, scope_of
from django_secure_auth.sessions.models import Session, idle_timeout
from django_secure_auth.sessions.services import end_all, end_session, keep_under, open_session, prove_again
from django_secure_auth.tokens import cookies
from django_secure_auth.tokens.authentication import access_cookie, bearer_token, has_explicit_credential
from django_secure_auth.tokens.cookies import read_cookie, read_cookies, refresh_tokens, wants_tokens_in_body
from django_secure_auth.tokens.services import (
    Rotation,
    Tokens,
    issue,
    read_access_token,
    renew,
    rotate,
    session_of_access_token,
    session_of_refresh_token,
)

LOGIN = "login"
REAUTHENTICATE = "reauthenticate"
DEVICE = "device"
APPROVAL = "approval"
_CODE_HEADER, _CHALLENGE_HEADER = "X-Approval-Code", "X-Challenge-Token"
_MOST_PARAMETERS, _MOST_SHOWN = 20, 200


# --- opening --------------------------------------------------------------------------------------


def log_in_with_password(
    request: AnyRequest, *, email: str, password: str, remember_me: bool, device: str | None
) -> Response:
    """Sign in with a password: 200 with a session, or 202 with a challenge.

    Raises LimitReached, InvalidCredentials, PasswordChangeRequired, StateUnavailable, and what `log_in` raises.
    """
    identifier = canonical_identifier(email)
    known = otp.users_of_device(device)
    if known:
        found = find_account(email)
        is_known = found is not None and found.pk in known
        attempt = reserve_attempt(request, identifier, device=device if is_known else None)
    else:  # counted before anybody is looked for: over the limit a known account must cost what an unknown one costs
        attempt = reserve_attempt(request, identifier, device=None)
        found = find_account(email)
    user = prove_password(request, found, password, attempt)
    if is_known_to_others(found or user, password):
        refuse_compromised(request, found or user, password)
    return _log_in(request, user, amr=["pwd"], remember_me=remember_me, device=device, is_trusted=known.get(user.pk))


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
    device = read_cookie(request, "device")
    is_trusted = otp.users_of_device(device).get(user.pk)
    return _log_in(request, user, amr=amr, remember_me=remember_me, device=device, is_trusted=is_trusted)


def _log_in(
    request: AnyRequest,
    user: AbstractBaseUser,
    *,
    amr: Iterable[str],
    remember_me: bool,
    device: str | None,
    is_trusted: bool | None,
) -> Response:
    """`is_trusted` is None in a browser where this user has never signed in."""
    otp.close(read_cookie(request, "challenge"), reason="replaced")
    with _unless_deleted(user, InvalidCredentials):
        if is_code_required(user, request, is_trusted_device=bool(is_trusted)):
            started = otp.start(user, purpose=LOGIN, request=request, amr=amr, remember_me=remember_me)
            return challenge_response(request, started.challenge, secret=started.secret)
        remember = partial(otp.remember_device, user, secret=device, request=request) if is_trusted is None else None
        response = _open(request, user, amr=amr, remember_me=remember_me, bind_device=remember)
        if is_trusted is None:
            tell("new_device", user, request=request)
        return response


@contextmanager
def _unless_deleted(user: AbstractBaseUser, refusal: type[SecureAuthError]) -> Iterator[None]:
    """An account that is deleted in this very moment is one that is not there: its rows are refused, and so is it."""
    try:
        yield
    except DatabaseError:  # a foreign key, or `last_login` that found no row
        if get_user_model()._base_manager.filter(pk=user.pk).exists():
            raise
        raise refusal from None


def finish_challenge(request: AnyRequest, *, code: str, secret: str | None, device: str | None) -> Response:
    """Approve the code of this browser's challenge, and do what it was for. Raises ChallengeInvalid or OTPInvalid."""
    challenge = otp.find(secret)
    if challenge.purpose == addresses.REGISTER:
        return finish_registration(request, code=code, secret=secret, device=device)
    if challenge.purpose == addresses.CHANGE:
        return _finish_change_of_address(request, challenge, code=code)
    if challenge.purpose == REAUTHENTICATE:
        return _finish_reauthentication(request, challenge, code=code)
    if challenge.purpose == DEVICE:
        return _finish_trust(request, challenge, code=code, device=device)
    if challenge.purpose != LOGIN:
        raise ChallengeInvalid
    otp.verify(challenge, code, request=request)
    user: Any = challenge.user
    with _unless_deleted(user, ChallengeInvalid):
        trust = partial(otp.trust_device, user, secret=device, request=request)
        response = _open(
            request, user, amr=[*challenge.amr, "email"], remember_me=challenge.remember_me, bind_device=trust
        )
    return _without_challenge(request, response)


def _without_challenge(request: AnyRequest, response: Response) -> Response:
    if not wants_tokens_in_body(request):
        cookies.clear(response, "challenge")
    return response


def resend_code(request: AnyRequest, *, secret: str | None) -> Response:
    """Mail a fresh code for this browser's challenge. Raises ChallengeInvalid, RateLimited, DeliveryUnavailable."""
    challenge = otp.find(secret)
    return challenge_response(request, otp.resend(challenge, request=request))


def _open(
    request: AnyRequest,
    user: AbstractBaseUser,
    *,
    amr: Iterable[str],
    remember_me: bool,
    bind_device: Callable[[], str] | None,
) -> Response:
    with transaction.atomic(using=router.db_for_write(Session)):
        old = present_session(request)
        session = open_session(user, request=request, amr=amr, remember_me=remember_me, replacing=old)
        # With the session or not at all: the browser would be left with a secret that nobody knows any more.
        device = bind_device() if bind_device is not None else None
    record(events.LOGIN_SUCCESS, request=request, user=user, session_id=session.pk, amr=session.amr)
    return _session_response(request, session, user, issue(session), device=device)


def present_session(request: AnyRequest) -> Session | None:
    """Return the session that a browser holds, also another user's: a new one is to take its place."""
    try:
        return _session_of(request)
    except TokenInvalid:  # the user has been proven by other means: what came along does not matter
        return None


# --- registering -------------------------------------------------------------------------------------


def register(request: AnyRequest, *, email: str, password: str, **fields: Any) -> Response:
    """Have a code mailed to an address that wants an account: 202, whether it has one or not.

    Raises Forbidden (closed), LimitReached, PolicyRejected, PasswordRejected, DeliveryUnavailable, StateUnavailable.
    """
    otp.close(read_cookie(request, "challenge"), reason="replaced")
    started = addresses.start_registration(request, email=email, password=password, fields=fields)
    return challenge_response(request, started.challenge, secret=started.secret)


def finish_registration(request: AnyRequest, *, code: str, secret: str | None, device: str | None) -> Response:
    """Open the account whose address a code has proven, and its first session. Raises ChallengeInvalid, OTPInvalid."""
    challenge = otp.find(secret)
    if challenge.purpose != addresses.REGISTER:
        raise ChallengeInvalid
    otp.verify(challenge, code, request=request)
    user = addresses.open_account(request, challenge)
    trust = partial(otp.trust_device, user, secret=device, request=request)
    return _without_challenge(request, _open(request, user, amr=["pwd", "email"], remember_me=False, bind_device=trust))


# --- going on ----------------------------------------------------------------------------------------


def refresh(request: AnyRequest, *, token: str | None) -> Response:
    """Exchange the refresh token for its successor. `token` is the one of the body, when bodies carry tokens."""
    candidates = [token] if token else refresh_tokens(request)
    if token is None and has_explicit_credential(request):
        raise TokenInvalid  # an explicit credential alone decides, and none of them refreshes anything
    rotation = _rotate_first_living(request, candidates)
    response = _session_response(request, rotation.session, rotation.session.user, rotation.tokens)
    if len(read_cookies(request, "refresh")) > 1:
        cookies.clear_duplicates(response)
    return response


def _rotate_first_living(request: AnyRequest, candidates: list[str]) -> Rotation:
    # A duplicate that an earlier mount point left behind is mostly genuine: of a session that is over.
    refusal = TokenInvalid() if candidates or read_cookies(request, "refresh") else Unauthenticated()
    for candidate in candidates:
        try:
            return rotate(candidate, request=request)
        except (TokenInvalid, SessionRevoked, SessionInactive) as error:
            refusal = error
    # Who holds a genuine token has a budget of the session's: noise from the same address uses up nobody else's.
    reserve("refresh", "address", address_prefix(scope_of(request).ip_address), request=request)
    raise refusal


# --- proving it again --------------------------------------------------------------------------------


def reauthenticate(request: Request, credentials: Credentials, *, password: str) -> Response:
    """Let whoever is signed in prove again who they are: 200 with a fresh `auth_time`, or 202 with a challenge.

    Raises InvalidCredentials, LimitReached, SessionRevoked, StateUnavailable, and what a challenge raises. Source: ASVS
    7.5.1, 7.5.3.
    """
    user = _prove_own_password(request, credentials, password, refused=events.LOGIN_FAIL)
    session = _own_session(credentials)
    # A session that a code was approved in is as good as a trusted device, whether that is a browser or a program.
    is_trusted = "email" in session.amr or otp.users_of_device(read_cookie(request, "device")).get(user.pk)
    if is_code_required(user, request, is_trusted_device=bool(is_trusted)):
        otp.close(read_cookie(request, "challenge"), reason="replaced")
        started = otp.start(user, purpose=REAUTHENTICATE, request=request, amr=["pwd"], action=str(session.pk))
        return challenge_response(request, started.challenge, secret=started.secret)
    return _prove_again(request, session, user, amr=["pwd"])


def _finish_reauthentication(request: AnyRequest, challenge: OTPChallenge, *, code: str) -> Response:
    session = _asking_session(request, challenge)
    otp.verify(challenge, code, request=request)
    return _without_challenge(request, _prove_again(request, session, session.user, amr=[*challenge.amr, "email"]))


def _asking_session(request: AnyRequest, challenge: OTPChallenge) -> Session:
    """Return the session that a code was asked for in: it is good there alone. Raises ChallengeInvalid elsewhere."""
    session = _session_of(request)
    if session is None or not session.is_alive or not otp.is_for(challenge, str(session.pk)):
        raise ChallengeInvalid
    return session


def _prove_again(request: AnyRequest, session: Session, user: AbstractBaseUser, *, amr: Iterable[str]) -> Response:
    if not prove_again(session, amr=amr):
        raise SessionRevoked
    renew(session)
    record(events.REAUTHENTICATED, request=request, user=user, session_id=session.pk, amr=list(amr))
    return _present_session_response(request, session, user)


def _present_session_response(
    request: AnyRequest, session: Session, user: AbstractBaseUser, *, device: str | None = None
) -> Response:
    """Answer with a session that goes on: fresh tokens for a browser, none for a program that holds its own."""
    token = bearer_token(request)
    if token is None or wants_tokens_in_body(request):
        return _session_response(request, session, user, issue(session), device=device)
    held_until = datetime.fromtimestamp(read_access_token(token).expires_at, UTC)  # of the one that the client holds
    return _renderable(Response(_session_answer(session, user, access_expires_at=held_until)))


def _own_session(credentials: Credentials) -> Session:
    own: Any = credentials.session_id
    session = Session.objects.primary().filter(pk=own, revoked_at=None).first()
    if session is None:
        raise SessionRevoked
    return session


def _whole_user(request: Request) -> AbstractBaseUser:
    """Return who is signed in with all columns: a request reads no password. Raises SessionRevoked."""
    model = get_user_model()
    own: Any = request.user.pk
    found = model._base_manager.using(router.db_for_write(model)).filter(pk=own).first()
    if found is None:  # deleted since the request began
        raise SessionRevoked
    return found


def _prove_own_password(
    request: Request, credentials: Credentials, password: str, *, refused: events.Event
) -> AbstractBaseUser:
    """Judge the password of whoever is signed in. Their session is a known browser: no stranger uses up its tries."""
    found = _whole_user(request)
    identifier = canonical_identifier(address_of(found) or found.get_username())
    attempt = reserve_attempt(request, identifier, device=str(credentials.session_id))
    try:
        return prove_password(request, found, password, attempt, refused=refused)
    except InvalidCredentials:
        raise InvalidCredentials("The password is not right.") from None  # nobody asked for an address


def change_password(request: Request, credentials: Credentials, *, current: str, new: str) -> None:
    """Store another password; every other session of the user ends, and whatever was asked for under the old one.

    Raises InvalidCredentials (wrong, or changed meanwhile), LimitReached, PasswordRejected, SessionRevoked,
    StateUnavailable. Source: ASVS 6.2.2, 6.2.3, 7.4.3.
    """
    user = _prove_own_password(request, credentials, current, refused=events.PASSWORD_CHANGE_FAIL)
    session = _own_session(credentials)
    try:
        judge_new_password(new, user, old=current)
    except PasswordRejected:
        record(events.PASSWORD_CHANGE_FAIL, request=request, user=user, session_id=session.pk, reason="policy")
        raise
    with transaction.atomic(using=router.db_for_write(Session)):
        replace_password(user, new)
        keep_under(user, session.pk)
        end_all(user, reason="password_changed", keep=session.pk)
    tell("password_changed", user, request=request)
    record(events.PASSWORD_CHANGED, request=request, user=user, session_id=session.pk)
    told = partial(signals.password_changed.send_robust, sender=user.__class__, user_id=user.pk, how="change")
    transaction.on_commit(told, using=router.db_for_write(Session))


# --- approving one action ----------------------------------------------------------------------------


def approve(request: Request, action: str, parameters: Mapping[str, Any]) -> Response | None:
    """Ask for a code that is good for exactly this action with these parameters; None when the request brings it.

    Without the header `X-Approval-Code` a code is mailed, which names the action and the parameters, and the contract's
    202 is returned with its cookie: hand it on. The client sends the same request again with the code. It works once,
    in the session and browser that asked, and for nothing else. `parameters` are JSON values, at most 20.

    Raises Forbidden (no session of ours, such as an API key), ImpersonationRefused, InvalidInput (no code of the right
    form), ChallengeInvalid (for something else), OTPInvalid, and what a challenge raises; ImproperlyConfigured in a
    request that is one transaction, since a refusal would give the attempt back. Source: ASVS 2.3.5.
    """
    connection = transaction.get_connection(router.db_for_write(OTPChallenge))
    if connection.in_atomic_block and connection.settings_dict["ATOMIC_REQUESTS"]:
        raise ImproperlyConfigured("approve(): put transaction.non_atomic_requests before the view's dispatch.")
    if len(parameters) > _MOST_PARAMETERS:
        raise ValueError(f"At most {_MOST_PARAMETERS} parameters can be read in a mail.")
    session_id = getattr(request.auth, "session_id", None)
    if session_id is None:
        raise Forbidden
    refuse_impersonation(request)
    name = canonical({"action": action, "parameters": dict(parameters), "session": str(session_id)}).decode()
    code = request.headers.get(_CODE_HEADER)
    if code is None:
        otp.close(read_cookie(request, "challenge"), reason="replaced")
        started = otp.start(_whole_user(request), purpose=APPROVAL, request=request, amr=[], action=name, payload={
            "action": action, "parameters": {key: _shown(value) for key, value in parameters.items()},
        })  # fmt: skip
        return challenge_response(request, started.challenge, secret=started.secret)
    if not is_code(code):
        raise InvalidInput(errors={_CODE_HEADER: ["The code has another form."]})
    in_body = wants_tokens_in_body(request)
    challenge = otp.find(request.headers.get(_CHALLENGE_HEADER) if in_body else read_cookie(request, "challenge"))
    if challenge.purpose != APPROVAL or challenge.user_id != request.user.pk or not otp.is_for(challenge, name):
        raise ChallengeInvalid
    otp.verify(challenge, code, request=request)
    record(events.ACTION_APPROVED, request=request, user=request.user, session_id=session_id, action=action)
    return None


def _shown(value: Any) -> str:
    return " ".join(str(value).split())[:_MOST_SHOWN]


# --- trusting a browser ------------------------------------------------------------------------------


def trust_this_device(request: Request, credentials: Credentials) -> Response:
    """Have a code mailed that makes this browser a trusted one: 202. For who has signed in without a code.

    Raises SessionRevoked, LimitReached, PolicyRejected, DeliveryUnavailable, StateUnavailable.
    """
    session = _own_session(credentials)
    otp.close(read_cookie(request, "challenge"), reason="replaced")
    user = _whole_user(request)
    started = otp.start(user, purpose=DEVICE, request=request, amr=[], action=str(session.pk))
    return challenge_response(request, started.challenge, secret=started.secret)


def _finish_trust(request: AnyRequest, challenge: OTPChallenge, *, code: str, device: str | None) -> Response:
    session = _asking_session(request, challenge)
    otp.verify(challenge, code, request=request)
    user: Any = challenge.user
    with _unless_deleted(user, ChallengeInvalid):
        secret = otp.trust_device(user, secret=device, request=request)
    response = _present_session_response(request, session, user, device=secret)
    return _without_challenge(request, response)


# --- another address ---------------------------------------------------------------------------------


def change_address(request: Request, credentials: Credentials, *, email: str) -> Response:
    """Have a code mailed to another address of whoever is signed in: 202, whether it has an account or not.

    Raises PolicyRejected, LimitReached, SessionRevoked, DeliveryUnavailable, StateUnavailable.
    """
    session = _own_session(credentials)
    otp.close(read_cookie(request, "challenge"), reason="replaced")
    started = addresses.start_change(request, session, email=email)
    return challenge_response(request, started.challenge, secret=started.secret)


def _finish_change_of_address(request: AnyRequest, challenge: OTPChallenge, *, code: str) -> Response:
    session = _asking_session(request, challenge)
    otp.verify(challenge, code, request=request)
    user = addresses.change(request, session, challenge)
    return _without_challenge(request, _present_session_response(request, session, user))


# --- going away --------------------------------------------------------------------------------------


def log_out(request: AnyRequest) -> Response:
    """End the session of this request, if it has one, and clear what the browser holds. Always the same answer.

    An explicit bearer token alone decides which session ends; TokenInvalid when it is garbled or another kind.
    """
    session = _session_of(request)
    if session is not None:
        end_session(session.pk, user_id=session.user_id, reason="sign_out", actor=session.impersonator_id)
        user_logged_out.send(sender=session.user.__class__, request=plain_request(request), user=session.user)
    otp.close(read_cookie(request, "challenge"), reason="sign_out")
    response = _renderable(Response(status=204))
    if wants_tokens_in_body(request):
        return response
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
    found = [session for value in refresh_tokens(request) if (session := _session_of_refresh(value))]
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


def _session_answer(session: Session, user: AbstractBaseUser, *, access_expires_at: datetime) -> dict[str, Any]:
    return {
        "status": "authenticated",
        "user": user_body(user),
        "session": session_body(session),
        "access_expires_at": rfc3339(access_expires_at),
    }


def _session_response(
    request: AnyRequest, session: Session, user: AbstractBaseUser, tokens: Tokens, *, device: str | None = None
) -> Response:
    body = _session_answer(session, user, access_expires_at=tokens.access_expires_at)
    if wants_tokens_in_body(request):
        body |= {"access_token": tokens.access, "refresh_token": tokens.refresh, "token_type": "Bearer"}
        if device is not None:
            body["device_token"] = device
        return _renderable(Response(body))
    response = _renderable(Response(body))
    # As long as the session may live from now on: the next request moves its idle deadline.
    keep_until = timezone.now() + idle_timeout(remember_me=True) if session.remember_me else None
    cookies.write_tokens(response, tokens, keep_until=min(keep_until, session.absolute_at) if keep_until else None)
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
