"""Door: every Celery task of the package, for Celery's discovery."""

from django_secure_auth.accounts.tasks import purge
from django_secure_auth.addresses.tasks import send_undo
from django_secure_auth.audit.tasks import seal
from django_secure_auth.notices.tasks import send_notice
from django_secure_auth.otp.tasks import send_code
from django_secure_auth.recovery.tasks import send_reset

__all__ = ["purge", "seal", "send_code", "send_notice", "send_reset", "send_undo"]
