"""Security events in the admin: to read, never to change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from django_secure_auth.audit import events
from django_secure_auth.audit.admin import SecurityEventAdmin
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record

pytestmark = pytest.mark.django_db
LIST = "admin:django_secure_auth_securityevent_changelist"


@pytest.fixture
def staff(admin_client: Client) -> Client:
    """A superuser whose code was approved at the admin's own sign-in."""
    session = admin_client.session
    session["_secure_auth_approved"] = True
    session.save()
    return admin_client


@pytest.fixture
def row() -> SecurityEvent:
    record(events.LOGIN_FAIL, user=7, reason="<script>alert(1)</script>")
    return SecurityEvent.objects.get(event="authn_login_fail")


def test_events_are_listed_filtered_and_searched(staff: Client, row: SecurityEvent) -> None:
    url = reverse(LIST)
    for query in ({}, {"severity": "MEDIUM"}, {"q": "7"}, {"event": "authn_login_fail"}, {"q": row.request_id}):
        response = staff.get(url, query)
        assert response.status_code == 200
    assert "authn_login_fail" in staff.get(url).content.decode()
    assert "Sign-in refused" not in staff.get(url, {"q": "no such id"}).content.decode()


def test_one_event_is_shown_escaped_and_without_a_form_to_change_it(staff: Client, row: SecurityEvent) -> None:
    response = staff.get(reverse("admin:django_secure_auth_securityevent_change", args=[row.pk]))
    assert response.status_code == 200
    page = response.content.decode()
    assert "<script>alert(1)" not in page
    assert 'name="_save"' not in page
    assert "deletelink" not in page


@pytest.mark.control("ASVS-16.4.2")
def test_nobody_adds_changes_or_deletes_one(staff: Client, row: SecurityEvent) -> None:
    """R36: not even a superuser."""
    change = reverse("admin:django_secure_auth_securityevent_change", args=[row.pk])
    delete = reverse("admin:django_secure_auth_securityevent_delete", args=[row.pk])
    assert staff.get(reverse("admin:django_secure_auth_securityevent_add")).status_code == 403
    assert staff.post(reverse("admin:django_secure_auth_securityevent_add"), {"event": "x"}).status_code == 403
    assert staff.post(change, {"event": "x"}).status_code == 403
    assert staff.get(delete).status_code == 403
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    staff.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert SecurityEvent.objects.filter(pk=row.pk, event="authn_login_fail").exists()


def test_the_list_offers_no_deletion(rf: Any, admin_user: Any) -> None:
    request = rf.get("/")
    request.user = admin_user
    assert SecurityEventAdmin(SecurityEvent, admin.site).get_actions(request) == {}
