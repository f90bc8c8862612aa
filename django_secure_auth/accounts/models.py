"""A user model for new projects: the e-mail address is the name, the key is a UUID. Existing ones may stay."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_secure_auth.kit.identifiers import MAX_IDENTIFIER
from django_secure_auth.passwords.fields import CanonicalEmailField


class EmailUserManager(BaseUserManager["AbstractEmailUser"]):
    """`create_user(email, password)` and `create_superuser(email, password)`."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> AbstractEmailUser:
        if not email:
            raise ValueError("An e-mail address is required.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> AbstractEmailUser:
        return self.create_user(email, password, **{"is_staff": True, "is_superuser": True, **fields})


class AbstractEmailUser(AbstractBaseUser, PermissionsMixin):
    """Subclass it, and set `AUTH_USER_MODEL` before the first migration."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = CanonicalEmailField(_("email address"), max_length=MAX_IDENTIFIER, unique=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("staff status"), default=False)
    date_joined = models.DateTimeField(_("date joined"), default=timezone.now, editable=False)

    objects: ClassVar[EmailUserManager] = EmailUserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        abstract = True
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def __str__(self) -> str:
        return str(self.email)
