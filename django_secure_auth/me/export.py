"""What the package keeps about one account, for its owner. No secret and no digest is in it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from django_secure_auth.accounts.serializers import rfc3339
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.conf import conf
from django_secure_auth.me.serializers import activity_row, device_row, key_body, me_body, session_row
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.sessions.models import Session

MOST_EVENTS = 10_000
"""The newest: an answer of some megabytes at most, made within a request."""


def export_of(user: AbstractBaseUser) -> dict[str, Any]:
    """Return the data of an account as JSON values; `ACCOUNT_EXPORT` adds the project's own (GDPR Art. 15, 20)."""
    events = SecurityEvent.objects.filter(user_id=str(user.pk)).order_by("-id")[:MOST_EVENTS]
    more = {"more": conf.ACCOUNT_EXPORT(user)} if conf.ACCOUNT_EXPORT is not None else {}
    return {
        "exported_at": rfc3339(timezone.now()),
        "account": me_body(user),
        "sessions": [session_row(one, current=False) for one in Session.objects.for_user(user)],
        "devices": [device_row(one, current=False) for one in TrustedDevice.objects.for_user(user)],
        "api_keys": [key_body(one) for one in APIKey.objects.for_user(user)],
        "activity": [activity_row(one) for one in events],
        **more,
    }
