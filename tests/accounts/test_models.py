"""The user model for new projects, and the field that keeps addresses in one form."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import models
from django.test.utils import isolate_apps

from django_secure_auth.accounts.models import AbstractEmailUser, CanonicalEmailField


@pytest.fixture
def user_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    with isolate_apps("django_secure_auth"):

        class Person(AbstractEmailUser):
            class Meta:
                app_label = "django_secure_auth"

    monkeypatch.setattr(Person, "save", lambda self, using=None: None)
    return Person


def test_a_user_has_an_address_for_a_name_and_a_uuid_for_a_key(user_model: Any) -> None:
    user = user_model.objects.create_user("ana@example.com", "a long password")
    assert isinstance(user.pk, UUID)
    assert user.get_username() == str(user) == "ana@example.com"
    assert user.check_password("a long password")
    assert user.is_active
    assert not user.is_staff
    assert not user.is_superuser


def test_a_superuser_is_staff(user_model: Any) -> None:
    user = user_model.objects.create_superuser("root@example.com", "a long password")
    assert user.is_staff
    assert user.is_superuser


def test_a_user_without_a_password_cannot_use_one(user_model: Any) -> None:
    assert not user_model.objects.create_user("ana@example.com").has_usable_password()


def test_a_user_needs_an_address(user_model: Any) -> None:
    with pytest.raises(ValueError, match="required"):
        user_model.objects.create_user("")


@pytest.mark.control("CS-Email-canonical")
@pytest.mark.parametrize("typed", [" Ana@Example.COM", "ａna@example.com", "ANA@EXAMPLE.COM "])
def test_an_address_has_one_form_in_the_table_and_in_look_ups(typed: str) -> None:
    """R12: found by the unique index, however it is typed."""
    field = CanonicalEmailField()
    assert field.to_python(typed) == "ana@example.com"
    assert field.get_prep_value(typed) == "ana@example.com"
    assert field.get_prep_value(None) is None


def test_an_address_is_saved_in_its_one_form() -> None:
    with isolate_apps("django_secure_auth"):

        class Letter(models.Model):
            to = CanonicalEmailField(null=True)

            class Meta:
                app_label = "django_secure_auth"

    letter = Letter(to=" Ana@Example.COM")
    field: Any = Letter._meta.get_field("to")
    assert field.pre_save(letter, add=True) == "ana@example.com"
    assert letter.to == "ana@example.com"
