"""What an administrator changes of codes, devices and budgets stands in the trail, with its actor."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from tests.browser import Browser, admin_browser, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.control("LOGVOC-authz_admin")]


@pytest.fixture
def owner(browser: Browser) -> Any:
    """Somebody with a challenge, a trusted device and a budget."""
    user = make_user()
    browser.sign_in()
    Browser().login()
    OTPBudget.objects.update_or_create(user_id=user.pk, defaults={"wrong_in_a_row": 3})
    return user


@pytest.fixture
def root(owner: Any) -> Browser:
    return admin_browser("root@example.com")


def root_id() -> str:
    model = get_user_model()
    return str(model._default_manager.get(**{model.get_email_field_name(): "root@example.com"}).pk)


def events_of(root: Browser, model: str, data: dict[str, Any], *, delete: object = None) -> list[SecurityEvent]:
    """Send a form to a model's list, or to the page that deletes one row; return the events that it left."""
    before = SecurityEvent.objects.count()
    name = f"admin:django_secure_auth_{model}"
    path = reverse(f"{name}_delete", args=[delete]) if delete else reverse(f"{name}_changelist")
    assert root.form(path, data).status_code == 302
    return list(SecurityEvent.objects.order_by("id")[before:])


def check(event: SecurityEvent, *, owner: Any, change: str, thing: str, pk: object) -> None:
    assert (event.event, event.severity) == ("authz_admin", "INFO")
    assert (event.user_id, event.actor_id) == (str(owner.pk), root_id())
    assert event.ip_address == "203.0.113.5"
    assert event.details == {"change": change, "thing": thing, "id": str(pk)}


def test_closing_challenges_is_told(root: Browser, owner: Any) -> None:
    """R36: once for each that was open."""
    challenge = OTPChallenge.objects.open().get(user=owner)
    pks = [str(pk) for pk in OTPChallenge.objects.values_list("pk", flat=True)]
    (event,) = events_of(root, "otpchallenge", {"action": "close_selected", "_selected_action": pks})
    check(event, owner=owner, change="closed", thing="otpchallenge", pk=challenge.pk)
    challenge.refresh_from_db()
    assert challenge.closed_reason == "admin"


def test_distrusting_devices_is_told(root: Browser, owner: Any) -> None:
    """R36: once, however often it is asked for."""
    device = TrustedDevice.objects.get(user=owner)
    form = {"action": "revoke_selected", "_selected_action": str(device.pk)}
    (event,) = events_of(root, "trusteddevice", form)
    check(event, owner=owner, change="distrusted", thing="trusteddevice", pk=device.pk)
    assert events_of(root, "trusteddevice", form) == []


def test_giving_a_budget_back_is_told(root: Browser, owner: Any) -> None:
    """R36: who lifts a lock could be its attacker."""
    (event,) = events_of(root, "otpbudget", {"post": "yes"}, delete=owner.pk)
    check(event, owner=owner, change="deleted", thing="otpbudget", pk=owner.pk)
    assert not OTPBudget.objects.filter(user=owner).exists()


@pytest.mark.parametrize("model", [OTPChallenge, TrustedDevice, OTPBudget])
@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_deletion_is_told(root: Browser, owner: Any, model: Any, in_bulk: bool) -> None:
    """R36: from a row's own page and from the list."""
    row = model.objects.filter(user=owner).first()
    thing = model._meta.model_name
    bulk = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    found = events_of(root, thing, bulk) if in_bulk else events_of(root, thing, {"post": "yes"}, delete=row.pk)
    (event,) = found
    check(event, owner=owner, change="deleted", thing=thing, pk=row.pk)
    assert not model.objects.filter(pk=row.pk).exists()
