"""Door: every admin page of the package, for Django's admin discovery."""

from django_secure_auth.apikeys.admin import APIKeyAdmin
from django_secure_auth.audit.admin import AuditSealAdmin, SecurityEventAdmin
from django_secure_auth.impersonation.admin import ImpersonationAdmin
from django_secure_auth.lifecycle.admin import AccountClosingAdmin
from django_secure_auth.links.admin import MailedLinkAdmin
from django_secure_auth.otp.admin import OTPBudgetAdmin, OTPChallengeAdmin, TrustedDeviceAdmin
from django_secure_auth.rbac.admin import RoleAdmin, RoleAssignmentAdmin
from django_secure_auth.recovery.admin import CompromisedPasswordAdmin
from django_secure_auth.sessions.admin import SessionAdmin

__all__ = [
    "APIKeyAdmin",
    "AccountClosingAdmin",
    "AuditSealAdmin",
    "CompromisedPasswordAdmin",
    "ImpersonationAdmin",
    "MailedLinkAdmin",
    "OTPBudgetAdmin",
    "OTPChallengeAdmin",
    "RoleAdmin",
    "RoleAssignmentAdmin",
    "SecurityEventAdmin",
    "SessionAdmin",
    "TrustedDeviceAdmin",
]
