"""What must hold with nothing but the package's own dependencies installed; `tox -e noextras` runs this file alone."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import django_secure_auth

# Who has this module loaded has the extra installed.
NEEDS = {"django_secure_auth.openapi": "drf_spectacular", "django_secure_auth.kit.safe_fetch": "httpx"}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(django_secure_auth.__path__, "django_secure_auth.")
    if ".migrations." not in module.name and find_spec(NEEDS.get(module.name, "django"))
)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.django_db  # on SQLite, the check of a JSON column asks the database
def test_the_system_checks_have_nothing_to_say() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_a_first_request_is_answered() -> None:
    response = Client().get(reverse("secure_auth:csrf"))
    assert response.status_code == 200
    assert response.json()["csrf_token"]


@pytest.mark.django_db
def test_a_host_view_refuses_a_stranger_with_a_problem_document() -> None:
    response = Client().get(reverse("probe"))
    assert response.status_code == 401
    assert response["Content-Type"].startswith("application/problem+json")
    assert response.json()["code"] == "not_authenticated"
