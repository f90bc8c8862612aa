"""Sign in as somebody else. There is no endpoint for it: the admin's page is the only door."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import PolicyRejected
from django_secure_auth.request_scope import AnyRequest
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import Impersonation, end_all_of_impersonator, may_impersonate, open_session


def impersonate(
    request: AnyRequest, *, by: AbstractBaseUser, user: AbstractBaseUser, reason: str, replacing: Session | None = None
) -> Session:
    """Open a session in a user's name for `by`, who has just proven who they are. An earlier one of theirs ends.

    So does the one that the browser holds, `replacing`.

    What is dangerous is refused in it (`NotImpersonated`, `RecentlyAuthenticated`); each event names both.
    Raises PolicyRejected (see `sessions.services.may_impersonate`), or StateUnavailable, having changed nothing.
    """
    if not may_impersonate(by.pk, user):
        record(events.IMPERSONATION_FAIL, request=request, user=user, actor=by, reason="policy")
        raise PolicyRejected
    with transaction.atomic(using=router.db_for_write(Session)):
        end_all_of_impersonator(by, reason="replaced")
        session = open_session(
            user, request=request, amr=["pwd"], impersonation=Impersonation(by, reason), replacing=replacing
        )
    record(
        events.IMPERSONATED, request=request, user=user, actor=by, session_id=session.pk, reason=reason,
        until=session.absolute_at.isoformat(),
    )  # fmt: skip
    return session
