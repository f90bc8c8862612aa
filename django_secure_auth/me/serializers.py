"""Bodies out: rows of the own account."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist

from django_secure_auth.accounts.serializers import profile_fields, rfc3339, session_body, user_body
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.exceptions import SessionRevoked
from django_secure_auth.kit.user_agent import device_label
from django_secure_auth.mail import place_of
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.request_scope import Credentials
from django_secure_auth.sessions.models import Session


def me_body(user: AbstractBaseUser) -> dict[str, Any]:
    names = profile_fields()
    unread = user.get_deferred_fields().intersection(names)
    if unread:  # in one query; read one by one, each would be a query of its own
        try:
            user.refresh_from_db(fields=unread)
        except ObjectDoesNotExist:  # deleted since the request began
            raise SessionRevoked from None
    return {**user_body(user), **{name: getattr(user, name) for name in names}}


def impersonation_body(credentials: Credentials) -> dict[str, Any]:
    """What `me/` adds for whoever is signed in as the user, so that every page can say so; empty for the user."""
    if credentials.impersonator is None:
        return {}
    own: Any = credentials.session_id
    session = Session.objects.primary().select_related("impersonator").filter(pk=own).first()
    if session is None or session.impersonator is None:  # deleted since the request began
        raise SessionRevoked
    by = {"id": str(session.impersonator.pk), "name": session.impersonator.get_username()}
    banner = {"by": by, "reason": session.impersonation_reason, "expires_at": rfc3339(session.absolute_at)}
    return {"impersonation": banner}


def session_row(session: Session, *, current: bool) -> dict[str, Any]:
    return {
        **session_body(session),
        "last_seen_at": rfc3339(session.last_seen_at),
        "device": session.device_label,
        "ip_address": session.ip_address,
        "place": place_of(session.ip_address) or None,
        "impersonated": session.impersonator_id is not None,
        "current": current,
    }


def device_row(device: TrustedDevice, *, current: bool) -> dict[str, Any]:
    return {
        "id": str(device.pk),
        "device": device.label,
        "ip_address": device.ip_address,
        "place": place_of(device.ip_address) or None,
        "trusted": device.is_approved,
        "created_at": rfc3339(device.created_at),
        "expires_at": rfc3339(device.expires_at),
        "current": current,
    }


def activity_row(event: SecurityEvent) -> dict[str, Any]:
    """What happened, when and from where. No details: they are for whoever runs the site."""
    return {
        "at": rfc3339(event.occurred_at),
        "event": event.event,
        "message": event.message,
        "session": event.session_id or None,
        "device": device_label(event.user_agent) if event.user_agent else None,
        "ip_address": event.ip_address or None,
        "place": place_of(event.ip_address) or None,
        "by_somebody_else": event.actor_id not in ("", event.user_id),
    }


def key_body(key: APIKey) -> dict[str, Any]:
    return {
        "id": str(key.pk),
        "public_id": key.public_id,
        "name": key.name,
        "scopes": key.scopes,
        "allowed_networks": key.allowed_networks,
        "rate_limit": key.rate_limit or None,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at) if key.last_used_at else None,
        "retires_at": rfc3339(key.retires_at) if key.retires_at else None,
        "replaces": str(key.replaces) if key.replaces else None,
    }
