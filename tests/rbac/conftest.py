"""People and roles for the tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from django_secure_auth.rbac.models import Role
from tests.browser import make_user


def fresh(user: Any) -> Any:
    """The user as the next request has it: a new instance."""
    return type(user)._default_manager.get(pk=user.pk)


def permission(name: str) -> Permission:
    app_label, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)


@pytest.fixture
def ana() -> Any:
    return make_user("ana@example.com")


@pytest.fixture
def ben() -> Any:
    return make_user("ben@example.com")


@pytest.fixture
def editor() -> Role:
    """An editor has what a reader has, and may change groups."""
    reader = Role.objects.create(name="reader")
    reader.permissions.add(permission("auth.view_group"))
    role = Role.objects.create(name="editor")
    role.permissions.add(permission("auth.change_group"))
    role.parents.add(reader)
    return role
