"""Every URL of a project, and what stands before it: read from the code, no view is called, no table is asked.

The question is whether somebody whom nobody knows may pass. It has three answers: yes, no, and "cannot be known",
which counts as yes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import FunctionType, MethodType
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware, LoginRequiredMiddleware
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string
from django.views import View
from rest_framework import permissions as drf
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from django_secure_auth.conf import conf
from django_secure_auth.decorators import EXEMPT, LIMITS, MARK, Rule
from django_secure_auth.headers.cross_site import reason_of
from django_secure_auth.tokens.authentication import JWTCookieAuthentication

ANYONE, SIGNED_IN, STAFF = "anyone", "signed in", "staff"
ANY_METHOD = "ANY"
_NOT_WRITTEN = "-"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Route:
    """One URL, for the methods that have the same before them."""

    path: str
    name: str
    methods: tuple[str, ...]
    view: str
    authentication: tuple[str, ...] = ()
    permission: tuple[str, ...] = ()
    throttle: tuple[str, ...] = ()
    csrf: str = ""
    """`enforced`, `by authentication`, `exempt`, or `-` where nothing is written."""
    who: str = ANYONE
    is_open: bool = True
    """Somebody whom nobody knows may pass, or it cannot be known."""
    reason: str = ""
    """Why it is open on purpose."""
    cross_site: str = ""
    """Why pages of every site may call it (`allow_cross_site`)."""
    error: str = ""

    @property
    def is_undeclared(self) -> bool:
        return self.is_open and not self.reason

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"{', '.join(self.methods)} {self.path}{name}: {self.error or self.who}"


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that stands before a view: whom it lets pass, and whether that may be anybody (None: who knows)."""

    who: str
    admits_anyone: bool | None


# --- the walk ----------------------------------------------------------------------------------------


def routes(urlconf: str | None = None) -> list[Route]:
    """Return every route of a URLconf, `ROOT_URLCONF` when none is named, in its order.

    What cannot be read is a route that names its error, and is open: never an exception.
    """
    if urlconf is None and not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = [route for place in _places(get_resolver(urlconf), "/", ()) for route in _routes_at(place)]
    return [_declared(route) for route in found]


def views(urlconf: str | None = None) -> list[tuple[str, Any]]:
    """Return path and view of every pattern that can be read, for checks that ask views what they say of themselves."""
    if urlconf is None and not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [(place.path, place.view) for place in _places(get_resolver(urlconf), "/", ()) if not place.error]


def view_classes(urlconf: str | None = None) -> list[tuple[str, Any]]:
    """The same, with the class of a view that is made from one."""
    return [(path, _class_of(view) or view) for path, view in views(urlconf)]


def open_routes(urlconf: str | None = None) -> list[Route]:
    """Return the routes that anybody may call and nobody has declared open."""
    return [route for route in routes(urlconf) if route.is_undeclared]


def idle_entries(found: Iterable[Route]) -> list[str]:
    """Return the entries of `OPEN_ROUTES` that name no route, or none that is open: left over, or misspelt."""
    needed = [route for route in found if route.is_open]
    return [entry for entry in conf.OPEN_ROUTES if not any(_is_named_by(entry, route) for route in needed)]


def _is_named_by(entry: str, route: Route) -> bool:
    return entry == route.name or f"/{entry.removeprefix('/')}" == route.path


def _declared(route: Route) -> Route:
    if route.is_undeclared and any(_is_named_by(entry, route) for entry in conf.OPEN_ROUTES):
        return replace(route, reason="OPEN_ROUTES")
    return route


@dataclass(frozen=True, slots=True)
class _Place:
    """A pattern's whole path and name, and the view that is there, or the error that is."""

    path: str
    name: str
    view: Any = None
    error: str = ""


def _places(resolver: URLResolver, path: str, namespaces: tuple[str, ...]) -> Iterator[_Place]:
    try:
        patterns: list[Any] = list(resolver.url_patterns)
    except Exception as error:  # a module that cannot be imported, or has no patterns
        yield _Place(path, "", error=_told(error))
        return
    for one in patterns:
        here = path + _text_of(one)
        if isinstance(one, URLResolver):
            yield from _places(one, here, (*namespaces, one.namespace) if one.namespace else namespaces)
        elif isinstance(one, URLPattern):
            yield _Place(here, ":".join([*namespaces, one.name]) if one.name else "", one.callback)
        else:
            yield _Place(here, "", error=f"{type(one).__name__} is no URL pattern")


def _text_of(pattern: Any) -> str:
    return str(getattr(pattern, "pattern", "?")).removeprefix("^").removesuffix("$").removesuffix(r"\Z")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _routes_at(place: _Place) -> list[Route]:
    if place.error:
        return [Route(place.path, place.name, (ANY_METHOD,), "", who="unknown", error=place.error)]
    try:
        ways = _ways(place.view)
    except Exception as error:  # a host's code, asked for its permissions: one view's fault is not the walk's
        told = f"cannot be read ({_told(error)})"
        return [Route(place.path, place.name, (ANY_METHOD,), _name_of(place.view), who="unknown", error=told)]
    grouped: dict[Route, list[tuple[str, str]]] = {}
    for method, way in ways.items():
        csrf = way.pop("csrf")  # "-" for reading: that alone makes no line of its own
        cross_site = reason_of(place.view) or ""
        route = Route(place.path, place.name, (), _name_of(place.view), cross_site=cross_site, **way)
        grouped.setdefault(route, []).append((method, csrf))
    return [
        replace(
            route,
            methods=tuple(method for method, _ in pairs),
            csrf=next((csrf for _, csrf in pairs if csrf != _NOT_WRITTEN), _NOT_WRITTEN),
        )
        for route, pairs in grouped.items()
    ]


def _name_of(view: Any) -> str:
    target = _class_of(view) or view
    target = target.func if isinstance(target, functools.partial) else target
    if not hasattr(target, "__qualname__"):
        target = type(target)  # a callable object
    # `@api_view` names its class after the function, but not in full.
    is_whole = target.__qualname__.endswith(target.__name__)
    return f"{target.__module__}.{target.__qualname__ if is_whole else target.__name__}"


def _class_of(view: Any) -> Any:
    return getattr(view, "cls", None) or getattr(view, "view_class", None)


# --- ways into a view: for each method what is before it ---------------------------------------------


def _ways(view: Any) -> dict[str, dict[str, Any]]:
    view_class = _class_of(view)
    outside = [*_middleware_guards(view), *_guards_around(view)]
    if view_class is None:
        return {method: _way(view, view, outside, [], method) for method in _methods_of(view)}
    outside += _class_guards(view_class)
    handlers = _handlers(view, view_class)
    if not issubclass(view_class, APIView):
        return {
            method: _way(view, handler, [*outside, *_guards_around(handler)], [], method)
            for method, handler in handlers.items()
        }
    return {method: _drf_way(view, handler, outside, method) for method, handler in handlers.items()}


def _way(
    view: Any, handler: Any, guards: list[Guard], throttles: Iterable[Any], method: str, **more: Any
) -> dict[str, Any]:
    guard = _all_of(guards)
    plain = {"authentication": _plain_authentication(view, handler), "csrf": _plain_csrf(view, method)}
    return {
        "permission": tuple(dict.fromkeys(one.who for one in guards)),
        "throttle": (*_names(throttles), *_limits_of(view, handler)),
        "who": guard.who,
        "is_open": guard.admits_anyone is not False,
        "reason": _declaration(view, handler) if guard.admits_anyone is not False else "",
        **(more or plain),
    }


def _handlers(view: Any, view_class: Any) -> dict[str, Any]:
    actions = getattr(view, "actions", None)  # a view set's: method → name of the action
    names = dict(actions) if actions else {name: name for name in view_class.http_method_names}
    return {
        method.upper(): getattr(view_class, name)
        for method, name in names.items()
        if method not in {"options", "head"} and hasattr(view_class, name)
    }


_METHODS_WRAPPER = ("django.views.decorators.http", "require_http_methods.<locals>.decorator.<locals>.inner")


def _methods_of(view: Any) -> tuple[str, ...]:
    for layer in _layers(view):
        if _code_of(layer) == _METHODS_WRAPPER:
            allowed = [str(method) for method in _closure_of(layer)["request_method_list"]]
            return tuple(method for method in allowed if method not in {"OPTIONS", "HEAD"})
    return (ANY_METHOD,)


def _declaration(view: Any, handler: Any) -> str:
    """Why a view says of itself that it is open."""
    for one in (handler, view, _class_of(view)):
        reason = getattr(one, "secure_auth_open", "")
        if isinstance(reason, str) and reason.strip():
            return reason
    # DRF sets it on all of its views, to be left alone by the middleware: that says nothing about who may pass.
    is_said = getattr(view, "login_required", True) is False and not _is_drf(view)
    return "login_not_required" if is_said else ""


def _is_drf(view: Any) -> bool:
    view_class = _class_of(view)
    return view_class is not None and issubclass(view_class, APIView)


def _limits_of(view: Any, handler: Any) -> tuple[str, ...]:
    """What `@rate_limit` counts before a view: around it, on its class, on the method."""
    view_class = _class_of(view)
    of_class = (getattr(view_class, name, None) for name in ("check_throttles", "dispatch"))
    layers = (layer for one in (view, *of_class, handler) for layer in _layers(one))
    return tuple(dict.fromkeys(str(limit) for layer in layers for limit in getattr(layer, LIMITS, ())))


def _names(things: Iterable[Any]) -> tuple[str, ...]:
    return tuple(type(thing).__name__ for thing in things)


# --- plain Django ------------------------------------------------------------------------------------


def _has_middleware(wanted: type) -> bool:
    return any(
        isinstance(middleware, type) and issubclass(middleware, wanted)
        for middleware in map(import_string, settings.MIDDLEWARE)
    )


def _middleware_guards(view: Any) -> list[Guard]:
    is_asked = getattr(view, "login_required", True) and _has_middleware(LoginRequiredMiddleware)
    return [Guard(SIGNED_IN, False)] if is_asked else []


def _plain_authentication(view: Any, handler: Any) -> tuple[str, ...]:
    ours = (JWTCookieAuthentication.__name__,) if _rules_of(view) or _rules_of(handler) else ()
    return (*(("session",) if _has_middleware(AuthenticationMiddleware) else ()), *ours)


def _plain_csrf(view: Any, method: str) -> str:
    if method in _SAFE_METHODS:
        return _NOT_WRITTEN
    if getattr(view, "csrf_exempt", False):
        return "by authentication" if _rules_of(view) and not getattr(view, EXEMPT, False) else "exempt"
    return "enforced" if _has_middleware(CsrfViewMiddleware) else "exempt"


def _class_guards(view_class: Any) -> list[Guard]:
    """What a class has before its handlers: mixins, a decorated `dispatch`, a decorated `initial`.

    Only where it comes before View, whose `dispatch` calls nobody: in `class Page(View, LoginRequiredMixin)` the mixin
    is never asked.
    """
    mro = view_class.__mro__
    before = mro[: mro.index(View)] if View in mro else mro
    found: list[Guard] = []
    if LoginRequiredMixin in before:
        found.append(Guard(SIGNED_IN, False))
    if PermissionRequiredMixin in before:
        found.append(_guard_of_permissions(getattr(view_class, "permission_required", None) or ()))
    if UserPassesTestMixin in before:
        found.append(Guard(f"test {view_class.test_func.__qualname__}", False))
    for one in before:
        for name in ("dispatch", "initial"):
            if name in vars(one):
                found += _guards_around(vars(one)[name])
    return found


def _guard_of_permissions(named: Any) -> Guard:
    names = (named,) if isinstance(named, str) else tuple(named)
    # `has_perms([])` is true for everybody.
    return Guard(f"permission {' and '.join(names)}", False) if names else Guard(ANYONE, True)


# --- decorators, looked through ----------------------------------------------------------------------


def _layers(view: Any) -> Iterator[Any]:
    """Yield a view and what it wraps, from the outside. Only wrappers that say what they wrap are looked through."""
    waiting, seen = [view], set()
    while waiting:
        layer = waiting.pop(0)
        layer = layer.__func__ if isinstance(layer, MethodType) else layer
        if id(layer) in seen or not callable(layer):
            continue
        seen.add(id(layer))
        yield layer
        waiting += [layer.func if isinstance(layer, functools.partial) else getattr(layer, "__wrapped__", None)]
        module, _ = _code_of(layer)
        if module.startswith(("django.", "rest_framework.")):  # their wrappers, by the names that they give to a view
            inside = _closure_of(layer)
            waiting += [inside.get(name) for name in ("view_func", "view", "func", "method")]


def _code_of(function: Any) -> tuple[str, str]:
    """Module and name of a function's code: `functools.wraps` does not change these."""
    if not isinstance(function, FunctionType):
        return "", ""
    return str(function.__globals__.get("__name__", "")), function.__code__.co_qualname


def _closure_of(function: Any) -> Mapping[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells}


def _guards_around(view: Any) -> list[Guard]:
    found: list[Guard] = []
    for layer in _layers(view):
        found += [Guard(str(rule), False) for rule in _rules_of(layer)]
        found += _guards_of_layer(layer)
    return list(dict.fromkeys(found))


def _rules_of(view: Any) -> tuple[Rule, ...]:
    rules = getattr(view, MARK, ())
    return rules if isinstance(rules, tuple) else ()


_ADMIN_WRAPPERS = {
    ("django.contrib.admin.sites", "AdminSite.admin_view.<locals>.inner"),
    ("django.contrib.admin.sites", "AdminSite.get_urls.<locals>.wrap.<locals>.wrapper"),
    ("django.contrib.admin.options", "ModelAdmin.get_urls.<locals>.wrap.<locals>.wrapper"),
}
_METHOD_DECORATOR = ("django.utils.decorators", "_multi_decorate.<locals>._wrapper")


def _guards_of_layer(layer: Any) -> list[Guard]:
    code = _code_of(layer)
    if code in _ADMIN_WRAPPERS:
        return [Guard(STAFF, False)]
    if code == ("django.contrib.auth.decorators", "user_passes_test.<locals>.decorator.<locals>._view_wrapper"):
        return [_guard_of_test(_closure_of(layer)["test_func"])]
    if code == _METHOD_DECORATOR:
        return _guards_of_decorators(_closure_of(layer)["decorators"])
    return []


def _guard_of_test(test: Any) -> Guard:
    module, name = _code_of(test)
    if (module, name) == ("django.contrib.auth.decorators", "login_required.<locals>.<lambda>"):
        return Guard(SIGNED_IN, False)
    if (module, name) == ("django.contrib.admin.views.decorators", "staff_member_required.<locals>.<lambda>"):
        return Guard(STAFF, False)
    if module == "django.contrib.auth.decorators" and name.startswith("permission_required."):
        return _guard_of_permissions(_closure_of(test)["perms"])
    return Guard(f"test {getattr(test, '__qualname__', type(test).__qualname__)}", False)


def _guards_of_decorators(decorators: Iterable[Any]) -> list[Guard]:
    """What `method_decorator` puts before a method: it holds the decorators, not what they made."""
    found: list[Guard] = []
    for decorator in decorators:
        try:
            found += _guards_around(decorator(lambda request, **_: None))  # decorated, never called
        except Exception:  # noqa: S112  # one that wants a certain view: what it guards cannot be known
            continue
    return found


# --- DRF ---------------------------------------------------------------------------------------------


def _drf_way(callback: Any, handler: Any, outside: list[Guard], method: str) -> dict[str, Any]:
    view = _instance(callback, method)
    guards = [*_guards_of_permissions(view, method), *outside, *_guards_around(handler)]
    authenticators = list(view.get_authenticators())
    csrf = _drf_csrf(view, authenticators, method)
    return _way(
        callback, handler, guards, view.get_throttles(), method, authentication=_names(authenticators), csrf=csrf
    )


def _instance(callback: Any, method: str) -> Any:
    """A view as it is when a request of an unknown caller comes in: permissions may depend on method and action."""
    view = callback.cls(**callback.initkwargs)
    request = HttpRequest()
    request.method = method
    view.request, view.args, view.kwargs, view.format_kwarg = Request(request), (), {}, None
    view.action_map = getattr(callback, "actions", {})
    view.action = view.action_map.get(method.lower())
    return view


def _drf_csrf(view: APIView, authenticators: Iterable[Any], method: str) -> str:
    if method in _SAFE_METHODS:
        return _NOT_WRITTEN
    said = getattr(view, "secure_auth_csrf", None)
    if said:
        return str(said)
    asks = any(isinstance(one, SessionAuthentication | JWTCookieAuthentication) for one in authenticators)
    return "by authentication" if asks else "exempt"


def _guards_of_permissions(view: APIView, method: str) -> list[Guard]:
    if type(view).check_permissions is not APIView.check_permissions:
        return [Guard("unknown: a check_permissions of its own", None)]
    return [_guard_of_permission(permission, view, method) for permission in view.get_permissions()]


def _guard_of_permission(permission: Any, view: APIView, method: str) -> Guard:
    for operator, combined in _COMBINED.items():
        if isinstance(permission, operator):
            parts = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
            return combined(_guard_of_permission(one, view, method) for one in parts)
    who = getattr(permission, "secure_auth_who", None)
    if isinstance(who, str) and who:
        return Guard(who, False)
    # A subclass that only judges objects is as its parent; one with a `has_permission` of its own is anybody's guess.
    judge = next((one for one in type(permission).__mro__ if "has_permission" in vars(one)), None)
    known = _KNOWN.get(judge)
    return known(permission, view, method) if known else Guard(f"unknown: {type(permission).__name__}", None)


def _guard_of_model_permissions(permission: Any, view: APIView, method: str) -> Guard:
    is_free = not permission.authenticated_users_only and not permission.perms_map.get(method)
    if is_free or getattr(view, "_ignore_model_permissions", False):  # the page of links that a router makes
        return Guard(ANYONE, True)
    return Guard("model permissions", False)


def _guard_of_read_only(_permission: Any, _view: APIView, method: str) -> Guard:
    return Guard(ANYONE, True) if method in _SAFE_METHODS else Guard(SIGNED_IN, False)


def _always(guard: Guard) -> Callable[[Any, APIView, str], Guard]:
    return lambda _permission, _view, _method: guard


_KNOWN: Mapping[Any, Callable[[Any, APIView, str], Guard]] = {
    drf.BasePermission: _always(Guard("anyone, asked object by object", True)),
    drf.AllowAny: _always(Guard(ANYONE, True)),
    drf.IsAuthenticated: _always(Guard(SIGNED_IN, False)),
    drf.IsAdminUser: _always(Guard(STAFF, False)),
    drf.IsAuthenticatedOrReadOnly: _guard_of_read_only,
    drf.DjangoModelPermissions: _guard_of_model_permissions,
}


# --- three-valued logic ------------------------------------------------------------------------------


def _all_of(guards: Iterable[Guard]) -> Guard:
    asked = [guard for guard in dict.fromkeys(guards) if guard.admits_anyone is not True]
    if not asked:
        return Guard(ANYONE, True)
    is_closed = any(guard.admits_anyone is False for guard in asked)
    # A role, a permission or staff is signed in anyhow.
    others = [guard for guard in asked if guard.who != SIGNED_IN]
    named = others if any(guard.admits_anyone is False for guard in others) else asked
    return Guard(" and ".join(guard.who for guard in named), False if is_closed else None)


def _any_of(guards: Iterable[Guard]) -> Guard:
    found = list(dict.fromkeys(guards))
    answers = {guard.admits_anyone for guard in found}
    if True in answers:
        return Guard(ANYONE, True)
    who = " or ".join(f"({guard.who})" if " and " in guard.who else guard.who for guard in found)
    return Guard(who, None if None in answers else False)


def _none_of(guards: Iterable[Guard]) -> Guard:
    (guard,) = guards
    answer = None if guard.admits_anyone is None else not guard.admits_anyone
    return Guard(f"not {guard.who}" if " " not in guard.who else f"not ({guard.who})", answer)


_COMBINED: Mapping[type, Callable[[Iterable[Guard]], Guard]] = {drf.AND: _all_of, drf.OR: _any_of, drf.NOT: _none_of}
