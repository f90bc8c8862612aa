"""The example's reports: a person needs the permission, a program's key the scope; neither stands in for the other."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from django_secure_auth.apikeys.services import create_key, revoke
from django_secure_auth.models import Role
from django_secure_auth.rbac.services import grant
from django_secure_auth.testing import sign_in
from testproject.reports.models import Report
from tests.browser import Browser, code_of, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("testproject.urls")]

REPORTS = "/api/reports/"


@pytest.fixture(autouse=True)
def _a_report() -> None:
    Report.objects.create(name="Users", count=4)


def reader() -> Any:
    user = make_user("editor@example.com")
    role = Role.objects.create(name="editor")
    role.permissions.add(Permission.objects.get(content_type__app_label="reports", codename="view_report"))
    grant(user, role)
    return user


def ask(user: Any = None, key: str | None = None) -> Any:
    browser = Browser()
    if user is not None:
        sign_in(browser.client, user)
    return browser.request("GET", REPORTS, headers={"X-API-Key": key} if key else {})


def test_a_person_with_the_permission_reads_them() -> None:
    response = ask(reader())
    assert response.status_code == 200
    (row,) = response.json()["results"]
    assert (row["name"], row["count"], row.keys()) == ("Users", 4, {"name", "count", "made_at"})


def test_a_key_with_the_scope_reads_them_whatever_its_owner_may() -> None:
    _, key = create_key(make_user(), name="k", scopes=["reports:read"])
    assert ask(key=key).status_code == 200


@pytest.mark.control("ASVS-10.3.2")
def test_others_do_not() -> None:
    owner = reader()
    _, without_scope = create_key(owner, name="k", scopes=["notes:read"])
    dead, revoked = create_key(owner, name="l", scopes=["reports:read"])
    revoke(dead, reason="test")
    for response, status, code in (
        (ask(), 401, "not_authenticated"),
        (ask(make_user("ana@example.com")), 403, "permission_denied"),
        (ask(key=without_scope), 403, "permission_denied"),  # though its owner may
        (ask(owner, key=without_scope), 403, "permission_denied"),  # the key alone decides
        (ask(key=revoked), 401, "api_key_invalid"),
        (ask(key="nonsense"), 401, "api_key_invalid"),
    ):
        assert (response.status_code, code_of(response)) == (status, code)


def test_nobody_writes_them() -> None:
    browser, user = Browser(), reader()
    sign_in(browser.client, user)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert code_of(browser.request(method, REPORTS, {})) == "method_not_allowed"
