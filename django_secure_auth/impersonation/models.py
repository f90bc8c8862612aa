"""Sessions that staff have opened in a user's name, as a table of their own for the admin's pages and permissions."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_secure_auth.sessions.models import Session


class Impersonation(Session):
    """Whoever has `django_secure_auth.add_impersonation` may sign in as a user."""

    class Meta:
        proxy = True
        verbose_name = _("impersonation")
        verbose_name_plural = _("impersonations")
