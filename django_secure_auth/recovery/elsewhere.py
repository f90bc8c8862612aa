"""A password or an address that other code has changed (the admin, a shell, a view of the project's): its user is told.

Seen where a user is saved; an UPDATE that saves nobody tells nobody. Source: ASVS 6.3.7.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import router, transaction
from django.dispatch import receiver

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.notices.services import is_told, tell
from django_secure_auth.sessions.services import end_all
from django_secure_auth.sessions.state import user_saved


@receiver(user_saved, dispatch_uid="secure_auth.elsewhere")
def tell_of_change(user: Any, old_address: str, password: bool, address: bool, **_: object) -> None:
    """Mail the notices: of a password to the address of before, of an address to both."""
    if is_told(user):
        return
    if password:
        tell("password_changed", user, to=old_address)
        end_all(user, reason="password_changed", actor="")
        record(events.PASSWORD_CHANGED, user=user, actor="", how="elsewhere")
        told = partial(signals.password_changed.send_robust, sender=type(user), user_id=user.pk, how="elsewhere")
        transaction.on_commit(told, using=router.db_for_write(type(user)))
    if address:
        tell("email_replaced", user, to=old_address)
        tell("email_changed", user)
        record(events.EMAIL_CHANGED, user=user, actor="", how="elsewhere")
