"""Security events and seals in the admin: to read and export, never to change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.audit import admin as audit_admin
from django_secure_auth.audit import events
from django_secure_auth.audit.admin import AuditSealAdmin, SecurityEventAdmin
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import seal
from django_secure_auth.audit.services import record
from tests.audit.trail import RAW, settle

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


def test_lists_say_how_many_rows_wait_for_a_seal(
    staff: Client, row: SecurityEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [reverse(LIST), reverse("admin:django_secure_auth_auditseal_changelist")]
    waiting = SecurityEvent.objects.count()
    for url in urls:
        assert f"Rows that wait for a seal: {waiting}. Last seal: never." in staff.get(url).content.decode()
    settle(monkeypatch)
    (made,) = seal()
    record(events.LOGIN_FAIL, user=8)
    for url in urls:
        page = staff.get(url).content.decode()
        assert f"Rows that wait for a seal: 1. Last seal: {timezone.localtime(made.sealed_at):%Y-%m-%d %H:%M}." in page
    monkeypatch.setattr(audit_admin, "_MOST_WAITING", 1)
    assert "Rows that wait for a seal: 1+." in staff.get(urls[0]).content.decode()


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
    assert set(SecurityEventAdmin(SecurityEvent, admin.site).get_actions(request)) == {"export_jsonl", "export_csv"}
    assert AuditSealAdmin(AuditSeal, admin.site).get_actions(request) == {}


def test_a_row_shows_its_seal_and_whether_it_fits_its_mac(
    staff: Client, row: SecurityEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    url = reverse("admin:django_secure_auth_securityevent_change", args=[row.pk])
    page = staff.get(url).content.decode()
    assert "The content fits its MAC." in page
    assert "waits" in page
    (made,) = seal()
    RAW.filter(pk=row.pk).update(message="Nothing happened")
    page = staff.get(url).content.decode()
    assert "changed or added: its content does not fit its MAC." in page
    assert "waits" not in page
    assert staff.get(reverse(LIST)).status_code == 200
    assert made.number == 1


def test_seals_are_listed_and_shown_and_nobody_changes_them(
    staff: Client, row: SecurityEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    (made,) = seal()
    assert staff.get(reverse("admin:django_secure_auth_auditseal_changelist")).status_code == 200
    url = reverse("admin:django_secure_auth_auditseal_change", args=[made.pk])
    page = staff.get(url).content.decode()
    assert made.digest() in page
    assert 'name="_save"' not in page
    assert staff.post(url, {"root": "x"}).status_code == 403
    delete = reverse("admin:django_secure_auth_auditseal_delete", args=[made.pk])
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    assert staff.get(reverse("admin:django_secure_auth_auditseal_add")).status_code == 403


@pytest.mark.control("ASVS-5.4.1", "ASVS-5.4.2")
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_who_may_export_gets_a_file_and_leaves_an_event(
    format: str, staff: Client, row: SecurityEvent, admin_user: Any
) -> None:
    chosen = {"action": f"export_{format}", "_selected_action": [row.pk], "filename": "evil.html"}
    response = staff.post(reverse(LIST), chosen)
    assert response["Content-Disposition"] == f'attachment; filename="security-events.{format}"'
    text = b"".join(getattr(response, "streaming_content")).decode()  # noqa: B009  # not of every response
    lines = text.splitlines()
    assert len(lines) == (1 if format == "jsonl" else 2)
    assert "authn_login_fail" in lines[-1]
    event = SecurityEvent.objects.get(event="audit_exported")
    assert (event.actor_id, event.details) == (str(admin_user.pk), {"format": format, "reason": "admin"})


def test_who_may_only_look_exports_nothing(client: Client, row: SecurityEvent, django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("viewer", "viewer@example.com", "x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_securityevent"))
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    session = client.session
    session["_secure_auth_approved"] = True
    session.save()
    assert client.get(reverse(LIST)).status_code == 200
    response = client.post(reverse(LIST), {"action": "export_csv", "_selected_action": [row.pk]})
    assert "Content-Disposition" not in response
    assert not SecurityEvent.objects.filter(event="audit_exported").exists()
