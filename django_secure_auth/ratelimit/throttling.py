"""The same limits as DRF throttles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_secure_auth.ratelimit.policy import Limit, Per, limit_of


class RateLimitThrottle(BaseThrottle):
    """`class Burst(RateLimitThrottle): rate = "5/min"`, for `throttle_classes` or DRF's default ones.

    Unlike DRF's own it counts before it judges, so that parallel callers do not slip past, slides, trusts no header
    that a caller wrote, and its refusal is a 429 with RateLimit headers. The attributes mean what they mean to
    `decorators.rate_limit`; one `name` shares the counters of all views, without it each view has its own.

    Raises ImproperlyConfigured where a subclass is written that makes no sense.
    """

    rate: str = ""
    per: Per = "user_or_ip"
    methods: Iterable[str] | None = None
    name: str | None = None
    fail_open: bool | None = None
    _limit: Limit | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # `vars`, or a function would be bound to the class that it is no method of.
        per = next(vars(one)["per"] for one in cls.__mro__ if "per" in vars(one))
        cls._limit = limit_of(cls.rate, per=per, methods=cls.methods, name=cls.name, fail_open=cls.fail_open)

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Return True, or raise LimitReached, or StateUnavailable when the cache is away and it fails closed."""
        if self._limit is None:
            raise ImproperlyConfigured("RateLimitThrottle has no rate: write a subclass that has.")
        self._limit.count(request, view=f"{type(view).__module__}.{type(view).__qualname__}")
        return True

    def __str__(self) -> str:
        return str(self._limit or "no rate")
