"""AppConfig: registers checks, and watches the user model, roles and grants on behalf of what is kept of them."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.contrib.auth import get_user_model
from django.core import checks
from django.db.models.signals import post_migrate, post_save, pre_delete, pre_save


class SecureAuthConfig(AppConfig):
    name = "django_secure_auth"
    label = "django_secure_auth"
    verbose_name = "Secure auth"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models are there from here on, not earlier.
        from django_secure_auth.checks import run_checks  # noqa: PLC0415  # needs the app registry
        from django_secure_auth.impersonation.models import Impersonation  # noqa: PLC0415  # needs the app registry
        from django_secure_auth.passwords.checks import check_twins  # noqa: PLC0415  # needs the app registry
        from django_secure_auth.rbac.policy import RECEIVERS, after_migrate  # noqa: PLC0415  # needs the app registry
        from django_secure_auth.recovery import elsewhere  # noqa: F401, PLC0415  # needs the app registry; it listens
        from django_secure_auth.sessions.models import Session  # noqa: PLC0415  # needs the app registry
        from django_secure_auth.sessions.state import (  # noqa: PLC0415  # needs the app registry
            after_user_is_saved,
            before_session_is_deleted,
            before_user_is_saved,
        )

        pre_save.connect(before_user_is_saved, dispatch_uid="secure_auth.user_saved")
        # Of these alone: a model whose saves somebody listens to is not written in one statement (`PreparedInsert`).
        for kind in apps.get_models():
            if issubclass(kind, get_user_model()):  # proxies and children too
                post_save.connect(
                    after_user_is_saved, sender=kind, dispatch_uid=f"secure_auth.saved.{kind._meta.label}"
                )
        for table in (Session, Impersonation):  # a proxy sends as itself
            uid = f"secure_auth.{table.__name__.lower()}_deleted"
            pre_delete.connect(before_session_is_deleted, sender=table, dispatch_uid=uid)
        for signal, receiver, model in RECEIVERS:
            signal.connect(receiver, sender=model, dispatch_uid=f"secure_auth.{receiver.__name__}")
        post_migrate.connect(after_migrate, sender=self, dispatch_uid="secure_auth.migrated")
        if apps.is_installed("drf_spectacular"):
            import django_secure_auth.openapi  # noqa: F401, PLC0415  # needs the extra; describes our views by being loaded

        for function, is_deploy in run_checks:
            checks.register(function, "secure_auth", deploy=is_deploy)
        checks.register(check_twins, checks.Tags.database)


class SecureAdminConfig(admin_apps.AdminConfig):
    """Put it into INSTALLED_APPS in the place of `django.contrib.admin`: staff then sign in with a code."""

    default = False
    default_site = "django_secure_auth.staff.admin.SecureAdminSite"
