"""What a project must find whatever its shape is, before any story begins."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import RequestFactory

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.otp.models import OTPChallenge, TrustedDevice
from django_secure_auth.sessions.models import Session
from tests.browser import make_user


@pytest.mark.django_db  # on SQLite, the check of a JSON column asks the database
def test_the_system_checks_have_nothing_to_say() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    """Neither ours for this user model nor, in the other direction, the shape's own."""
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
@pytest.mark.parametrize("model", [APIKey, Session, OTPChallenge, TrustedDevice])
def test_the_admin_searches_by_the_users_own_fields(model: Any, rf: RequestFactory) -> None:
    make_user("ana@example.com")
    request = rf.get("/")
    found: Any
    found, _ = admin.site.get_model_admin(model).get_search_results(request, model.objects.all(), "ana@example.com")
    assert list(found) == []


@pytest.mark.django_db
def test_the_address_is_found_where_the_model_keeps_it() -> None:
    user = make_user("ana@example.com")
    model = get_user_model()
    assert model._default_manager.get(**{model.get_email_field_name(): "ana@example.com"}) == user
