"""`@requires(…)` and `@rate_limit(…)`: who may call a view, and how often, in one line above every kind of view.

`requires` denies whenever it does not know. A request passes when every question was asked and each was answered with
True; a mistake in the declaration, an error and an answer that is neither True nor False are refusals too, told as
defects.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.request import Request
from rest_framework.views import APIView, set_rollback

from django_secure_auth.accounts.services import approve
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import Forbidden, InternalError, SecureAuthError, Unauthenticated
from django_secure_auth.problems import as_error, plain_problem_response, tell_defect
from django_secure_auth.ratelimit.policy import Limit, Per, limit_of
from django_secure_auth.rbac.permissions import holds_scope
from django_secure_auth.rbac.services import has_role
from django_secure_auth.request_scope import AnyRequest, Credentials, plain_request
from django_secure_auth.tokens.authentication import JWTCookieAuthentication, enforce_csrf, has_explicit_credential

logger = logging.getLogger("django_secure_auth")
View = TypeVar("View")

MARK = "secure_auth_requires"
"""Attribute of a guarded view, method or class: the tuple of its rules, outermost first."""
EXEMPT = "secure_auth_csrf_exempt"
"""Attribute of a guarded view: whether its host had exempted it from CSRF."""
LIMITS = "secure_auth_limits"
"""Attribute of a limited view, method or class: the tuple of its limits, outermost first."""
_VARY = ("Cookie", "Authorization", "X-API-Key")  # or a cache, `cache_page` too, would hand the answer to anybody
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_TOLD = frozenset({Unauthenticated, Forbidden})  # an expired token or a failed CSRF check is no refusal of the rule's


class BrokenRule(Exception):
    """A rule that cannot be asked, or that gave no answer. Whoever called the view is denied."""


# --- the rule ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """What one `requires` asks for. `complaint` says what is wrong with it; then nobody passes."""

    roles: tuple[str, ...] = ()
    permission: str | None = None
    scope: str | None = None
    check_func: Callable[..., Any] | None = None
    complaint: str | None = None

    @property
    def asks_later(self) -> bool:
        """Whether the answer of `check_func` has to be awaited."""
        return _is_async(self.check_func)

    def __str__(self) -> str:
        """Who passes, in words: `role admin or editor and permission app.view_report`."""
        if self.complaint:
            return f"nobody: {self.complaint}"
        parts = [f"role {' or '.join(self.roles)}"] if self.roles else []
        parts += [f"permission {self.permission}"] if self.permission else []
        parts += [f"API key with scope {self.scope}"] if self.scope else []
        parts += [f"check {_name_of(self.check_func)}"] if self.check_func else []
        return " and ".join(parts)


def _is_async(function: Any) -> bool:
    # A callable object may be async in its __call__; partial is looked through by inspect.
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # fetched, not asked for


def _name_of(thing: Any) -> str:
    thing = getattr(thing, "func", thing)  # functools.partial
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{getattr(thing, '__module__', '')}.{name}".lstrip(".")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _complaint_about(roles: tuple[Any, ...], permission: Any, scope: Any, check_func: Any) -> str | None:
    for role in roles:
        if not _is_text(role):
            return f"a role is a non-empty string, not {role!r}"
    if permission is not None and not (_is_text(permission) and all(permission.partition(".")[::2])):
        return f"a permission is a string such as 'app.codename', not {permission!r}"
    if scope is not None and not _is_text(scope):
        return f"a scope is a non-empty string, not {scope!r}"
    if check_func is not None and not callable(check_func):
        return f"check_func is a function, not {check_func!r}"
    return None


# --- one call of a guarded view ----------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    request: AnyRequest
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    view: Any
    """The view's instance where there is one, else the guarded function: it has what a host marks."""
    is_async: bool
    is_csrf_exempt: bool = False
    """The host said so about the view itself."""


def _call_of(guarded: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, is_async: bool) -> _Call:
    """Find the request: the first argument of a function, the second of a method."""
    place = _place_of_request(guarded, args)
    owner = args[0] if place else guarded
    return _Call(args[place], args[place + 1 :], kwargs, owner, is_async, getattr(guarded, EXEMPT))


def _place_of_request(view: Any, args: tuple[Any, ...]) -> int:
    for place in (0, 1):
        if len(args) > place and isinstance(args[place], HttpRequest | Request):
            return place
    raise ImproperlyConfigured(f"This decorator is for views; {_name_of(view)} was called without a request.")


def _is_somebody(user: Any) -> bool:
    # `is True`: a method of that name, as on user models of old, is true for everybody.
    return getattr(user, "is_authenticated", False) is True and bool(getattr(user, "is_active", True))


def _prove(rule: Rule, call: _Call) -> Any:
    """Return the user that a request proves to come from. Raises SecureAuthError or what an authentication raises."""
    request = call.request
    if isinstance(request, Request):
        user = request.user
    elif _is_drf(call.view):
        user = _prove_as_its_view_would(call, request)
    else:
        user = _prove_on_plain_view(rule, call, request)
    if not _is_somebody(user):
        raise Unauthenticated
    return user


def _is_drf(view: Any) -> bool:
    """Tell whether a view function was made by DRF: then the class knows how to authenticate."""
    made_of = getattr(view, "cls", None)
    return isinstance(made_of, type) and issubclass(made_of, APIView)


def _prove_as_its_view_would(call: _Call, request: HttpRequest) -> Any:
    """Above `@api_view` or around `as_view()`: DRF has not seen the request yet, and will authenticate it again."""
    view: APIView = call.view.cls(**call.view.initkwargs)
    view.request, view.args, view.kwargs = request, call.args, dict(call.kwargs)  # type: ignore[assignment]  # as DRF does at first
    view.action_map = getattr(call.view, "actions", {})  # type: ignore[attr-defined]  # read by ViewSetMixin
    return view.initialize_request(request, *call.args, **call.kwargs).user


def _prove_on_plain_view(rule: Rule, call: _Call, request: HttpRequest) -> Any:
    """The user of Django's session or of a host's middleware; where that is nobody, our cookie or bearer token.

    A rule that names a scope lets API keys in: no other rule does, so that none is even looked up.
    Puts `request.user`, `request.auser` and `request.auth` in place for the view.
    """
    if isinstance(getattr(request, "auth", None), Credentials):
        return request.user  # a rule above this one has asked
    user = _user_of_django(request)
    if user is not None:
        if request.method not in _SAFE_METHODS and not call.is_csrf_exempt:
            enforce_csrf(request)
        return user
    keys = [APIKeyAuthentication()] if rule.scope else []
    proof = Request(request, authenticators=[*keys, JWTCookieAuthentication()], parser_context={"view": call.view})
    user = proof.user
    request.auser = partial(_later, user)
    return user


def _user_of_django(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    if not _is_somebody(user):
        return None
    # No cookie counts beside an explicit credential. A user whom a host's middleware took from a header is no cookie's.
    if has_explicit_credential(request) and SESSION_KEY in getattr(request, "session", {}):
        return None
    return user


async def _later(value: Any) -> Any:
    return value


# --- deciding ----------------------------------------------------------------------------------------


def _judge(answer: Any, question: str) -> bool:
    """Return an answer that is True or False. Raises BrokenRule for any other, however true it looks."""
    if answer is True or answer is False:
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that nobody awaited it
    raise BrokenRule(f"{question} answered {type(answer).__name__}, neither True nor False")


def _ask_roles_and_permission(rule: Rule, request: AnyRequest, user: Any) -> None:
    auth = getattr(request, "auth", None)
    is_key = getattr(auth, "kind", None) == "api_key"
    # A key may do what its scopes name and nothing else: what its owner may do is not for whoever reads a config file.
    if is_key and rule.scope is None:
        raise Forbidden
    if rule.roles and not any(_judge(has_role(user, role), "has_role") for role in rule.roles):
        raise Forbidden
    if rule.permission and not _judge(user.has_perm(rule.permission), "has_perm"):
        raise Forbidden
    if rule.scope and not holds_scope(user, auth, rule.scope):
        raise Forbidden


def _ask_check(rule: Rule, call: _Call) -> None:
    if rule.check_func is None:
        return
    if rule.asks_later:
        raise BrokenRule("check_func is async and the view is not")
    try:
        answer = rule.check_func(call.request, *call.args, **call.kwargs)
    except Exception as error:
        raise BrokenRule(f"check_func {_name_of(rule.check_func)} raised {type(error).__name__}") from error
    if not _judge(answer, "check_func"):
        raise Forbidden


async def _ask_check_later(rule: Rule, call: _Call) -> None:
    check = cast(Callable[..., Awaitable[Any]], rule.check_func)
    try:
        answer = await check(call.request, *call.args, **call.kwargs)
    except Exception as error:
        raise BrokenRule(f"check_func {_name_of(check)} raised {type(error).__name__}") from error
    if not _judge(answer, "check_func"):
        raise Forbidden


def _decide(rule: Rule, call: _Call) -> None:
    """Ask in this order: declaration, authentication, roles, permission, scope, check. Raises what denies."""
    if rule.complaint:
        raise BrokenRule(rule.complaint)
    user = _prove(rule, call)
    _ask_roles_and_permission(rule, call.request, user)
    if not (call.is_async and rule.asks_later):
        _ask_check(rule, call)


def _turned_away(rule: Rule, call: _Call) -> HttpResponse | None:
    """Return None when the request may pass, else the answer. Inside DRF the answer is raised, for its handler."""
    try:
        _decide(rule, call)
    except Exception as reason:
        return _refuse(rule, call, reason)
    return None


async def _turned_away_later(rule: Rule, call: _Call) -> HttpResponse | None:
    # One thread for all that may ask the database; the check itself stays in the event loop.
    refusal = await sync_to_async(_turned_away)(rule, call)
    if refusal is not None or not rule.asks_later:
        return refusal
    try:
        await _ask_check_later(rule, call)
    except Exception as reason:
        return await sync_to_async(_refuse)(rule, call, reason)
    return None


def _refuse(rule: Rule, call: _Call, reason: Exception) -> HttpResponse:
    """Write down why, and answer. Called while `reason` is handled."""
    request = plain_request(call.request)
    # What an authentication or a database raises is answered as everywhere; a check is asked for True or False only.
    error = InternalError() if isinstance(reason, BrokenRule) else as_error(reason)
    if error.status_code >= InternalError.status_code:
        _tell_defect(rule, call, reason, answer=error)
    elif type(error) in _TOLD:
        _tell_refusal(events.AUTHZ_FAIL, rule, call, reason=error.code)
    if isinstance(call.request, Request):
        raise error from (None if error is reason else reason)
    if error.status_code >= InternalError.status_code:
        set_rollback()  # what the check wrote before it failed is not kept, as if the view had raised
    response = plain_problem_response(error, request)
    response._has_been_logged = error.status_code >= InternalError.status_code  # type: ignore[attr-defined]  # with its traceback
    return response


def _tell_refusal(event: events.Event, rule: Rule, call: _Call, **details: Any) -> None:
    request = plain_request(call.request)
    asked = {"required_permission": rule.permission, "required_scope": rule.scope}
    record(
        event,
        request=request,
        user=getattr(request, "user", None),
        session_id=getattr(getattr(request, "auth", None), "session_id", None),
        resource=request.path[:200],
        required_roles=[str(role)[:64] for role in rule.roles],
        **{name: value for name, value in asked.items() if value is not None},
        **details,
    )


def _tell_defect(rule: Rule, call: _Call, reason: Exception, *, answer: SecureAuthError) -> None:
    if isinstance(answer, InternalError):  # an outage is no fault of the rule
        why = str(reason) if isinstance(reason, BrokenRule) else type(reason).__name__
        _tell_refusal(events.AUTHZ_BROKEN, rule, call, reason=why[:200])
    tell_defect(reason, plain_request(call.request), answer=answer, sender=type(call.view))


# --- putting it around a view ------------------------------------------------------------------------


def requires(
    *roles: str,
    check_func: Callable[..., bool | Awaitable[bool]] | None = None,
    permission: str | None = None,
    scope: str | None = None,
) -> Callable[[View], View]:
    """Let pass who has any of `roles`, and `permission`, and for whom `check_func(request, **url_kwargs)` is True.

    For function views, methods, view classes and DRF views, sync and async. What is not given is not asked for; all
    that is given must hold. `permission` is `"app.codename"`, `scope` that of an API key.

    Denies with 401 `not_authenticated`, 403 `permission_denied`, and 500 `internal_error` when the rule is wrong, when
    asking fails or when an answer is neither True nor False. `check_func` is sync or async as the view is.

    Raises ImproperlyConfigured where it is written when there is nothing to check, nothing to guard, or when an async
    `check_func` stands on a sync view.
    """
    if len(roles) == 1 and callable(roles[0]):
        raise ImproperlyConfigured("Write @requires(…) with what it asks for: a bare @requires would check nothing.")
    if not roles and permission is None and scope is None and check_func is None:
        raise ImproperlyConfigured("requires() has nothing to check: name a role, a permission, a scope or a check.")
    rule = Rule(roles, permission, scope, check_func, _complaint_about(roles, permission, scope, check_func))

    def guard(view: View) -> View:
        if isinstance(view, type):
            _guard_class(rule, view)
            return view
        if not callable(view):
            raise ImproperlyConfigured(f"requires guards views, and {view!r} is none.")
        return cast(View, _guarded(rule, view))

    return guard


def _refuse_async_check(rule: Rule, view: Any) -> None:
    if rule.asks_later:
        raise ImproperlyConfigured(f"The check_func of {_name_of(view)} is async and the view is not.")


def _guarded(rule: Rule, view: Callable[..., Any]) -> Callable[..., Any]:
    guarded: Any
    if _is_async(view):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            refusal = await _turned_away_later(rule, _call_of(guarded, args, kwargs, is_async=True))
            return refusal if refusal is not None else _as_varying(await view(*args, **kwargs))

    else:
        # `method_decorator` tries a decorator on a dummy of its own, which is sync whatever the method is.
        if getattr(view, "__module__", "") != "django.utils.decorators":
            _refuse_async_check(rule, view)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            refusal = _turned_away(rule, _call_of(guarded, args, kwargs, is_async=False))
            return refusal if refusal is not None else _as_varying(view(*args, **kwargs))

    _mark(guarded, rule, view)
    return cast(Callable[..., Any], guarded)


def _as_varying(response: Any) -> Any:
    if isinstance(response, HttpResponseBase):  # else Django says what is wrong with it
        patch_vary_headers(response, _VARY)
    return response


def _mark(guarded: Any, rule: Rule, view: Any) -> None:
    setattr(guarded, MARK, (rule, *getattr(view, MARK, ())))
    setattr(guarded, EXEMPT, bool(getattr(view, EXEMPT, getattr(view, "csrf_exempt", False))))
    # Both are asked here, and by middleware too early: that knows neither a bearer token nor our cookie.
    guarded.csrf_exempt = True
    guarded.login_required = False


def _guard_class(rule: Rule, view_class: Any) -> None:
    if issubclass(view_class, APIView):
        _guard_drf_class(rule, view_class)
    elif hasattr(view_class, "dispatch"):
        _guard_plain_class(rule, view_class)
    else:
        raise ImproperlyConfigured(f"requires guards views, and {view_class.__qualname__} has no dispatch().")


def _guard_drf_class(rule: Rule, view_class: type[APIView]) -> None:
    _refuse_async_check(rule, view_class)
    initial = view_class.initial

    @wraps(initial)
    def guarded(self: APIView, request: Request, *args: Any, **kwargs: Any) -> None:
        initial(self, request, *args, **kwargs)  # authentication, permissions, throttles
        _turned_away(rule, _Call(request, args, kwargs, self, is_async=False))
        self.headers["Vary"] = ", ".join(filter(None, [self.headers.get("Vary"), *_VARY]))

    _mark(guarded, rule, initial)
    view_class.initial = guarded  # type: ignore[method-assign]  # as method_decorator does with dispatch


def _guard_plain_class(rule: Rule, view_class: Any) -> None:
    dispatch = view_class.dispatch
    handlers = [name for name in view_class.http_method_names if name != "options" and hasattr(view_class, name)]
    if handlers and not view_class.view_is_async:
        _refuse_async_check(rule, view_class)

    @wraps(dispatch)
    def guarded(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        call = _Call(request, args, kwargs, self, bool(self.view_is_async), getattr(guarded, EXEMPT))
        if call.is_async:  # a subclass decides whether it is
            return _dispatch_later(rule, call, partial(dispatch, self, request, *args, **kwargs))
        refusal = _turned_away(rule, call)
        return refusal if refusal is not None else _as_varying(dispatch(self, request, *args, **kwargs))

    _mark(guarded, rule, dispatch)
    view_class.dispatch = guarded


async def _dispatch_later(
    rule: Rule, call: _Call, dispatch: Callable[[], Awaitable[HttpResponseBase]]
) -> HttpResponseBase:
    refusal = await _turned_away_later(rule, call)
    return refusal if refusal is not None else _as_varying(await dispatch())


# --- how often ---------------------------------------------------------------------------------------


def rate_limit(
    rate: str,
    *,
    per: Per = "ip",
    methods: Iterable[str] | None = None,
    name: str | None = None,
    fail_open: bool | None = None,
) -> Callable[[View], View]:
    """Let each caller call a view so often and no more: `@rate_limit("5/min, 100/hour", per="user")`.

    For function views, methods, view classes and DRF views, sync and async. What one of several windows refuses counts
    in none. It stacks: each limit has counters of its own. `per` is `"ip"` (an IPv6 network of /64 is one), `"user"`,
    `"user_or_ip"`, `"api_key"`, or a function of the request that names the caller, or returns None for one who is not
    counted. Views with one `name` share counters.

    Exactly that many pass in a window, which slides, however many come at once. More is 429 `rate_limited`. While the
    cache is away everybody passes with `fail_open=True`, and nobody with False: 503 `state_unavailable`. None is what
    RATE_LIMIT_WHEN_AWAY says of `view`: open.

    Raises ImproperlyConfigured where it is written when the rate or anything else makes no sense.
    """
    limit = limit_of(rate, per=per, methods=methods, name=name, fail_open=fail_open)

    def guard(view: View) -> View:
        if isinstance(view, type):
            _limit_class(limit, view)
            return view
        if not callable(view):
            raise ImproperlyConfigured(f"rate_limit is for views, and {view!r} is none.")
        if _is_drf(view) and limit.per != "ip":
            raise ImproperlyConfigured(
                f"Put rate_limit below @api_view or on the class of {_name_of(view)}: above it nobody is known yet."
            )
        return cast(View, _limited(limit, view))

    return guard


def _limited(limit: Limit, view: Callable[..., Any]) -> Callable[..., Any]:
    name = _name_of(view)
    limited: Any
    if _is_async(view):

        @wraps(view)
        async def limited(*args: Any, **kwargs: Any) -> Any:
            refusal = await sync_to_async(_held_up)(limit, args[_place_of_request(view, args)], name)
            return refusal if refusal is not None else await view(*args, **kwargs)

    else:

        @wraps(view)
        def limited(*args: Any, **kwargs: Any) -> Any:
            refusal = _held_up(limit, args[_place_of_request(view, args)], name)
            return refusal if refusal is not None else view(*args, **kwargs)

    _note_limit(limited, limit, view)
    return cast(Callable[..., Any], limited)


def _held_up(limit: Limit, request: AnyRequest, view: str) -> HttpResponse | None:
    """Return None when the request may pass, else the answer. Inside DRF the answer is raised, for its handler."""
    try:
        limit.count(request, view=view)
    except SecureAuthError as error:
        if isinstance(request, Request):
            raise
        return plain_problem_response(error, request)
    return None


def _note_limit(limited: Any, limit: Limit, view: Any) -> None:
    setattr(limited, LIMITS, (limit, *getattr(view, LIMITS, ())))


def _limit_class(limit: Limit, view_class: Any) -> None:
    name = _name_of(view_class)
    if issubclass(view_class, APIView):
        check_throttles = view_class.check_throttles

        @wraps(check_throttles)
        def counted(self: APIView, request: Request) -> None:
            limit.count(request, view=name)
            check_throttles(self, request)

        _note_limit(counted, limit, check_throttles)
        view_class.check_throttles = counted
    elif hasattr(view_class, "dispatch"):
        _limit_dispatch(limit, view_class, name)
    else:
        raise ImproperlyConfigured(f"rate_limit is for views, and {view_class.__qualname__} has no dispatch().")


def _limit_dispatch(limit: Limit, view_class: Any, name: str) -> None:
    dispatch = view_class.dispatch

    @wraps(dispatch)
    def counted(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if self.view_is_async:  # a subclass decides whether it is
            return _dispatch_when_counted(limit, request, name, partial(dispatch, self, request, *args, **kwargs))
        refusal = _held_up(limit, request, name)
        return refusal if refusal is not None else dispatch(self, request, *args, **kwargs)

    _note_limit(counted, limit, dispatch)
    view_class.dispatch = counted


async def _dispatch_when_counted(
    limit: Limit, request: HttpRequest, name: str, dispatch: Callable[[], Awaitable[HttpResponseBase]]
) -> HttpResponseBase:
    refusal = await sync_to_async(_held_up)(limit, request, name)
    return refusal if refusal is not None else await dispatch()


# --- one action --------------------------------------------------------------------------------------


def approved(
    action: str, parameters: Callable[..., Mapping[str, Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Ask for a mailed code before a method of a DRF view: `@approved("pay", lambda request, **kwargs: {…})`.

    The code is good for this action with what `parameters(request, **url_kwargs)` returns; see
    `accounts.services.approve`. With ATOMIC_REQUESTS the view's dispatch is `non_atomic_requests`.
    """

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def guarded(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
            asked = approve(request, action, parameters(request, **kwargs))
            return method(view, request, *args, **kwargs) if asked is None else asked

        return guarded

    return guard
