"""Input that is what it claims to be, or a refusal that says why."""

from django_secure_auth.strict.backends import SafeOrderingFilter
from django_secure_auth.strict.querysets import SafeOrderingQuerySet
from django_secure_auth.strict.serializers import StrictModelSerializer, StrictSerializer

__all__ = ["SafeOrderingFilter", "SafeOrderingQuerySet", "StrictModelSerializer", "StrictSerializer"]
