"""Which fields are a profile: what users are known by is none, whatever a project calls it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from django_secure_auth.accounts import serializers
from django_secure_auth.accounts.serializers import profile_fields, profile_serializer


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Any:
    with isolate_apps("django_secure_auth"):

        class Person(AbstractBaseUser):
            number = models.CharField(max_length=10, primary_key=True)
            handle = models.CharField(max_length=50, unique=True)
            post = models.EmailField()
            nick = models.CharField(max_length=50)
            friend = models.ForeignKey("self", models.CASCADE)

            USERNAME_FIELD = "handle"
            EMAIL_FIELD = "post"

            class Meta:
                app_label = "django_secure_auth"

    monkeypatch.setattr(serializers, "get_user_model", lambda: Person)
    return Person


@pytest.mark.control("APITOP10-API3:2023")
@pytest.mark.usefixtures("person")
@override_settings(DJANGO_SECURE_AUTH={"PROFILE_FIELDS": ["number", "handle", "post", "nick", "friend", "nothing"]})
def test_what_one_signs_in_with_is_in_no_profile_under_any_name() -> None:
    assert profile_fields() == ("nick",)
    assert set(profile_serializer()().fields) == {"nick"}
