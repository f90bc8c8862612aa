"""Door: every table of the package, for Django's model discovery."""

from django_secure_auth.addresses.models import AddressClaim
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.impersonation.models import Impersonation
from django_secure_auth.lifecycle.models import AccountClosing
from django_secure_auth.links.models import MailedLink
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from django_secure_auth.passwords.models import CompromisedPassword
from django_secure_auth.rbac.models import Role, RoleAssignment, RoleLink, UserAccess
from django_secure_auth.sessions.models import Session

__all__ = [
    "APIKey",
    "AccountClosing",
    "AddressClaim",
    "AuditSeal",
    "CompromisedPassword",
    "Impersonation",
    "MailedLink",
    "OTPBudget",
    "OTPChallenge",
    "Role",
    "RoleAssignment",
    "RoleLink",
    "SecurityEvent",
    "Session",
    "TrustedDevice",
    "UserAccess",
]
