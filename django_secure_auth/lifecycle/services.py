"""Close an account: asked for by its owner, done after a while, and not done when the owner comes back."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import ProtectedError, RestrictedError
from django.utils import timezone

from django_secure_auth.apikeys import services as apikeys
from django_secure_auth.audit import events
from django_secure_auth.audit.seals import erase_person
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.lifecycle.models import AccountClosing
from django_secure_auth.notices.services import tell
from django_secure_auth.otp import services as otp
from django_secure_auth.request_scope import AnyRequest
from django_secure_auth.sessions.services import end_all, lock_user

logger = logging.getLogger("django_secure_auth")


def ask_to_close(request: AnyRequest, user: AbstractBaseUser) -> AccountClosing:
    """End everything that opens an account, and have it closed after `ACCOUNT_CLOSING_GRACE`. Its owner is told.

    Raises StateUnavailable, having changed nothing.
    """
    now = timezone.now()
    using = router.db_for_write(AccountClosing)
    with transaction.atomic(using=using):
        times = {"asked_at": now, "closes_at": now + conf.ACCOUNT_CLOSING_GRACE}
        closing, _ = AccountClosing.objects.using(using).update_or_create(user_id=user.pk, defaults=times)
        otp.forget(user)
        apikeys.revoke_all(user, reason="closing")
        end_all(user, reason="closing")
        tell("account_closing", user, request=request, day=f"{closing.closes_at:%Y-%m-%d}")
    record(events.USER_CLOSING, request=request, user=user, closes_at=closing.closes_at.isoformat())
    return closing


def close_due(*, now: datetime) -> int:
    """Close the accounts whose time has come, and return how many. One that cannot be closed stops no other.

    Who has come back is noted at each run: the session that says so may be purged before the account's time comes.
    """
    closings = AccountClosing.objects.primary()
    for user_id in closings.came_back().values_list("user_id", flat=True):
        _keep(user_id)
    return sum(_close(user_id) for user_id in closings.filter(closes_at__lte=now).values_list("user_id", flat=True))


def _keep(user_id: Any) -> None:
    deleted, _ = AccountClosing.objects.filter(user_id=user_id).delete()
    if deleted:
        record(events.USER_KEPT, user=user_id, actor="")


def _close(user_id: Any) -> bool:
    try:
        with transaction.atomic(using=router.db_for_write(AccountClosing)):
            user = lock_user(user_id)
            if user is None:  # by another run
                return False
            if AccountClosing.objects.primary().came_back().filter(user_id=user_id).exists():
                _keep(user_id)
                return False
            kept_by = _take_away(user)
            AccountClosing.objects.filter(user_id=user_id).delete()
            erase_person(user_id, actor="")
    except Exception:
        logger.exception("An account could not be closed; the next run tries again.")
        return False
    record(events.USER_DELETED, user=user_id, actor="", kept_by=kept_by)
    return True


def _take_away(user: Any) -> str:
    """Delete an account, or leave an empty shell where other rows hold on to it. Returns what holds on to it."""
    if conf.ACCOUNT_CLOSER is not None:
        conf.ACCOUNT_CLOSER(user)
        return ""
    try:
        with transaction.atomic(using=router.db_for_write(user.__class__)):
            user.delete()
    except (ProtectedError, RestrictedError) as refusal:
        user.is_active = False
        user.set_unusable_password()
        user.save(update_fields=["is_active", "password"])
        return type(refusal).__name__
    return ""
