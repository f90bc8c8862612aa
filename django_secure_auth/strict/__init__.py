"""Input that is what it claims to be, or a refusal that says why."""

from django_secure_auth.strict.serializers import StrictSerializer

__all__ = ["StrictSerializer"]
