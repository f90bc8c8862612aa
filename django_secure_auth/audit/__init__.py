"""Security events: one registry, one writer, one table, one log line each."""

from django_secure_auth.audit.services import security_logger

__all__ = ["security_logger"]
