"""DRF permissions, composable with `& | ~`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.permissions import BasePermission, OperationHolderMixin
from rest_framework.request import Request

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import StepUpRequired


class RecentlyAuthenticated(OperationHolderMixin, BasePermission):
    """Passes when the password, or another proof, was given within `minutes` (default `STEP_UP_MAX_AGE`).

    A refresh is no proof. Refuses with 403 `step_up_required` (ASVS 7.5.1).
    """

    code = StepUpRequired.code
    message = StepUpRequired.default_detail
    secure_auth_who = "recently signed in"

    def __init__(self, minutes: float | None = None) -> None:
        self.max_age = timedelta(minutes=minutes) if minutes is not None else None

    def __call__(self) -> RecentlyAuthenticated:
        """Let `RecentlyAuthenticated(minutes=5)` stand in `permission_classes`, which DRF calls to make instances.

        `OperationHolderMixin` gives such an instance the `& | ~` that DRF gives to classes only.
        """
        return self

    def has_permission(self, request: Request, view: Any) -> bool:
        auth_time = getattr(request.auth, "auth_time", None)
        if auth_time is None:
            return False
        max_age = conf.STEP_UP_MAX_AGE if self.max_age is None else self.max_age
        return bool(timezone.now() - auth_time <= max_age)
