"""Housekeeping, for Celery beat and for `manage.py secure_auth_purge`."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from django_secure_auth.addresses import services as addresses
from django_secure_auth.apikeys import services as apikeys
from django_secure_auth.audit import seals
from django_secure_auth.conf import conf
from django_secure_auth.lifecycle import services as lifecycle
from django_secure_auth.links import services as links
from django_secure_auth.otp import services as otp
from django_secure_auth.sessions import services as sessions

KEEP_DAYS = 30
"""Ended sessions and challenges stay so long by default, for whoever asks what happened last week."""


LONGEST_DAYS = 3650


@shared_task(name="django_secure_auth.tasks.purge", ignore_result=True)
def purge(older_than_days: int = KEEP_DAYS) -> dict[str, int]:
    """Close the accounts that are due; delete what is over.

    Sessions, challenges, devices and API keys that ended `older_than_days` ago, and events past retention.

    Raises ValueError for anything but 1 to `LONGEST_DAYS` days: a negative number would reach what still lives.
    """
    if not 1 <= older_than_days <= LONGEST_DAYS:
        raise ValueError(f"older_than_days must be from 1 to {LONGEST_DAYS}, not {older_than_days}")
    now = timezone.now()
    before = now - timedelta(days=older_than_days)
    return {
        "closed accounts": lifecycle.close_due(now=now),  # before the sessions, which say who came back
        "sessions": sessions.purge(before=before),
        "challenges and devices": otp.purge(before=before),
        "mailed links": links.purge(before=before),
        "claims of addresses": addresses.purge(before=before),
        "API keys": apikeys.purge(before=before),
        "security events": seals.expire(before=now - conf.AUDIT_RETENTION),
    }
