"""Rows of the checklist about Django REST framework: its defaults, and what the project's views make of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework import authentication, filters, parsers, permissions, throttling
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.serializers import ModelSerializer
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from django_secure_auth.doctor.policy import error, listed, warning
from django_secure_auth.routes import view_classes
from django_secure_auth.strict.backends import SafeOrderingFilter


def _views() -> Iterator[type[APIView]]:
    for _, view in view_classes():
        if isinstance(view, type) and issubclass(view, APIView):
            yield view


def _default(name: str) -> list[Any]:
    return list(getattr(api_settings, name))


def _has(default: str, wanted: type) -> bool:
    return any(issubclass(one, wanted) for one in _default(default))


@warning(
    135,
    "drf",
    "REST_FRAMEWORK['DEFAULT_PERMISSION_CLASSES'] lets everybody in: a view that forgets its own is open.",
    "Set it to ['rest_framework.permissions.IsAuthenticated'].",
    controls=["CS-DRF-defaults", "ASVS-8.2.1"],
)
def everybody_by_default() -> bool:
    classes = _default("DEFAULT_PERMISSION_CLASSES")
    return not classes or all(one in (permissions.AllowAny, permissions.BasePermission) for one in classes)


@warning(
    136,
    "drf",
    "The browsable API is on: forms for every method, and names and fields of everything, for whoever comes by.",
    "Set REST_FRAMEWORK['DEFAULT_RENDERER_CLASSES'] to ['rest_framework.renderers.JSONRenderer'].",
    controls=["CS-DRF-defaults", "ASVS-13.4.5"],
)
def api_can_be_browsed() -> bool:
    return not settings.DEBUG and _has("DEFAULT_RENDERER_CLASSES", BrowsableAPIRenderer)


@warning(
    137,
    "drf",
    "SessionAuthentication is a default: the admin's cookie opens every view, without the rules of our tokens.",
    "Use 'django_secure_auth.tokens.authentication.JWTCookieAuthentication'.",
    controls=["CS-DRF-defaults", "ASVS-6.3.4"],
)
def sessions_open_the_api() -> bool:
    return _has("DEFAULT_AUTHENTICATION_CLASSES", authentication.SessionAuthentication)


@warning(
    138,
    "drf",
    "BasicAuthentication is a default: a password with every request, past codes and limits.",
    "Use API keys for programs.",
    controls=["CS-DRF-defaults", "ASVS-6.3.4"],
)
def passwords_open_the_api() -> bool:
    return _has("DEFAULT_AUTHENTICATION_CLASSES", authentication.BasicAuthentication)


@warning(
    139,
    "drf",
    "TokenAuthentication is a default: its tokens lie in the table in clear, and live for ever.",
    "Use API keys (docs/apikeys.md), or let a token expire.",
    controls=["CS-DRF-defaults", "ASVS-7.2.2"],
)
def eternal_tokens_open_the_api() -> bool:
    return _has("DEFAULT_AUTHENTICATION_CLASSES", authentication.TokenAuthentication)


@error(
    111,
    "drf",
    "REST_FRAMEWORK['UNAUTHENTICATED_USER'] counts as signed in: nobody is everybody.",
    "Use AnonymousUser, DRF's default, or None.",
    controls=["ASVS-8.2.1"],
)
def nobody_is_signed_in() -> bool:
    nobody: Any = api_settings.UNAUTHENTICATED_USER
    return bool(getattr(nobody and nobody(), "is_authenticated", False))


@warning(
    133,
    "throttling",
    "DRF's own throttles count by X-Forwarded-For as it comes (NUM_PROXIES is None): who invents one has no limit.",
    "Set REST_FRAMEWORK['NUM_PROXIES'] to your number of proxies, 0 without any, or use RateLimitThrottle.",
    controls=["ASVS-15.3.4", "ASVS-4.1.3"],
)
def throttles_believe_callers() -> bool:
    return api_settings.NUM_PROXIES is None and _has("DEFAULT_THROTTLE_CLASSES", throttling.SimpleRateThrottle)


@warning(
    134,
    "throttling",
    "A default throttle has no rate in DEFAULT_THROTTLE_RATES, and lets everything pass: {}.",
    "Give each scope a rate.",
    controls=["CS-DRF-defaults", "ASVS-2.4.1"],
)
def throttles_without_rate() -> str:
    rates = api_settings.DEFAULT_THROTTLE_RATES
    classes = [one for one in _default("DEFAULT_THROTTLE_CLASSES") if issubclass(one, throttling.SimpleRateThrottle)]
    scopes = {one.scope for one in classes if not getattr(one, "rate", None)} - {None}
    return listed(scope for scope in scopes if not rates.get(scope))


@warning(
    142,
    "drf",
    "DRF's OrderingFilter is a default backend: a view without `ordering_fields` sorts by every column that it shows.",
    "Use 'django_secure_auth.strict.backends.SafeOrderingFilter'.",
    controls=["CS-DRF-defaults"],
)
def ordering_by_default() -> bool:
    return any(_sorts_by_anything(one) for one in _default("DEFAULT_FILTER_BACKENDS"))


def _sorts_by_anything(backend: Any) -> bool:
    """Whether this is DRF's filter; ours refuses to work in a view that declares nothing."""
    return issubclass(backend, filters.OrderingFilter) and not issubclass(backend, SafeOrderingFilter)


@warning(
    141,
    "drf",
    "Views sort by whatever column they are asked for, and so tell what is in it: {}.",
    "Name `ordering_fields`, or use SafeOrderingFilter.",
    controls=["ASVS-15.3.1"],
)
def views_sort_by_anything() -> str:
    return listed(
        view.__qualname__
        for view in _views()
        if getattr(view, "ordering_fields", None) in (None, "__all__")
        and any(map(_sorts_by_anything, getattr(view, "filter_backends", ())))
    )


_PRIVATE = ("password", "secret", "token", "digest", "otp")


def _is_private(name: str) -> bool:
    return any(word in name.lower() for word in _PRIVATE)


@error(
    112,
    "drf",
    "Views search in secrets, and so tell them letter by letter: {}.",
    "Remove the field from `search_fields`.",
    controls=["ASVS-15.3.1", "ASVS-14.2.4"],
)
def views_search_secrets() -> str:
    return listed(
        f"{view.__qualname__} ({name})"
        for view in _views()
        if any(issubclass(one, filters.SearchFilter) for one in getattr(view, "filter_backends", ()))
        for name in getattr(view, "search_fields", None) or ()
        if _is_private(str(name))
    )


@warning(
    144,
    "drf",
    "Serializers of users show or take every field, privileges and the password's hash too: {}.",
    "Write an explicit list of `fields`.",
    controls=["ASVS-15.3.1"],
)
def serializers_show_users_whole() -> str:
    classes: list[Any] = [getattr(view, "serializer_class", None) for view in _views()]
    return listed(one.__qualname__ for one in classes if _shows_users_whole(one))


def _shows_users_whole(serializer: Any) -> bool:
    if not isinstance(serializer, type) or not issubclass(serializer, ModelSerializer):
        return False
    meta: Any = getattr(serializer, "Meta", None)
    model = getattr(meta, "model", None)
    is_whole = getattr(meta, "fields", None) == "__all__" or bool(getattr(meta, "exclude", ()))
    return is_whole and isinstance(model, type) and issubclass(model, get_user_model())


@warning(
    145,
    "drf",
    "DRF's JSONParser is a default: it reads bodies of any size and depth, past DATA_UPLOAD_MAX_MEMORY_SIZE.",
    "Set REST_FRAMEWORK['DEFAULT_PARSER_CLASSES'] to ['django_secure_auth.strict.parsers.StrictJSONParser'].",
    controls=["ASVS-5.2.1", "CS-DRF-defaults"],
)
def bodies_of_any_size() -> bool:
    return _has("DEFAULT_PARSER_CLASSES", parsers.JSONParser)
