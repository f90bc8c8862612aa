"""API keys in the admin: seen, revoked and deleted with their actor, never made, never shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key, revoke
from tests.browser import Browser, admin_browser, change_user, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:django_secure_auth_apikey_changelist"


@pytest.fixture
def owner() -> Any:
    return make_user()


@pytest.fixture
def root(owner: Any) -> Browser:
    return admin_browser("root@example.com")


def root_id() -> str:
    model = get_user_model()
    return str(model._default_manager.get(**{model.get_email_field_name(): "root@example.com"}).pk)


def works(text: str) -> bool:
    return bool(Client().get(reverse("program"), headers={"X-API-Key": text}).status_code == 200)


@pytest.mark.control("LOGVOC-authz_admin")
def test_an_administrator_who_revokes_keys_is_the_actor(root: Browser, owner: Any) -> None:
    """R36: the trail says whose key it was, and who ended it."""
    keys = [create_key(owner, name=f"number {number}") for number in range(3)]
    revoke(keys[2][0], reason="x")
    pks = [str(key.pk) for key, _ in keys]
    page = root.form(reverse(LIST), {"action": "revoke_selected", "_selected_action": pks})
    assert page.status_code == 302
    assert not any(works(text) for _, text in keys)
    told = named("authn_api_key_revoked")[1:]
    assert {event.details["public_id"] for event in told} == {key.public_id for key, _ in keys[:2]}
    assert {(event.user_id, event.actor_id) for event in told} == {(str(owner.pk), root_id())}
    assert {event.ip_address for event in told} == {"203.0.113.5"}
    assert "2 API keys were revoked." in root.page(reverse(LIST)).content.decode()


@pytest.mark.control("LOGVOC-authz_admin")
def test_a_deletion_ends_the_key_and_is_told_once(root: Browser, owner: Any) -> None:
    """R36: the row said what there was."""
    living, text = create_key(owner, name="living")
    over, _ = create_key(owner, name="over")
    revoke(over, reason="x")
    for key in (living, over):
        path = reverse("admin:django_secure_auth_apikey_delete", args=[key.pk])
        assert root.form(path, {"post": "yes"}).status_code == 302
    assert not APIKey.objects.exists()
    assert not works(text)
    (event,) = [event for event in named("authn_api_key_revoked") if event.details["reason"] == "admin"]
    assert (event.details["public_id"], event.actor_id) == (living.public_id, root_id())
    (event,) = named("authz_admin")
    assert (event.user_id, event.actor_id) == (str(owner.pk), root_id())
    assert event.details == {"change": "deleted", "thing": "apikey", "id": over.public_id}


def test_none_is_made_or_changed_there(root: Browser, owner: Any) -> None:
    """A new key would have to be shown by a message, which Django keeps in a cookie or a table."""
    key, _ = create_key(owner, name="ci")
    assert root.page(reverse("admin:django_secure_auth_apikey_add")).status_code == 403
    path = reverse("admin:django_secure_auth_apikey_change", args=[key.pk])
    assert root.form(path, {"name": "mine"}).status_code == 403
    assert 'name="name"' not in root.page(path).content.decode()
    assert "delete_selected" not in root.page(reverse(LIST)).content.decode()


def test_what_works_is_shown_as_alive(root: Browser, owner: Any) -> None:
    create_key(owner, name="works")
    over, _ = create_key(owner, name="ended")
    revoke(over, reason="x")
    expired, _ = create_key(owner, name="past")
    now = timezone.now()
    APIKey.objects.filter(pk=expired.pk).update(created_at=now - timedelta(2), expires_at=now - timedelta(1))

    def names(query: str = "") -> set[str]:
        page = root.page(reverse(LIST) + query).content.decode()
        return {name for name in ("works", "ended", "past") if f">{name}<" in page}

    assert names() == {"works", "ended", "past"}
    assert names("?state=alive") == {"works"}
    assert names("?state=over") == {"ended", "past"}
    page = root.page(reverse(LIST)).content.decode()
    assert page.count('alt="True"') == 1
    change_user(owner, is_active=False)
    assert 'alt="True"' not in root.page(reverse(LIST)).content.decode()


def test_a_key_is_found_by_what_people_know_of_it(root: Browser, owner: Any) -> None:
    key, _ = create_key(owner, name="nightly export")
    create_key(owner, name="other")
    for query, found in ((key.public_id, 1), ("nightly", 1), ("ana@example.com", 2), (key.public_id[:-1], 0)):
        page = root.page(f"{reverse(LIST)}?q={query}").content.decode()
        assert page.count('class="action-select"') == found


def test_no_page_shows_a_key_or_its_digest(root: Browser, owner: Any) -> None:
    """R26: nor what it is made of."""
    key, text = create_key(owner, name="ci", scopes=["reports:read"], networks=["192.0.2.0/24"])
    pages = [root.page(reverse(LIST)), root.page(reverse("admin:django_secure_auth_apikey_change", args=[key.pk]))]
    shown = "\n".join(page.content.decode() for page in pages)
    assert key.public_id in shown
    assert "reports:read" in shown
    for hidden in (text[-49:], key.digest):
        assert hidden not in shown


def test_the_list_costs_the_same_for_any_number_of_rows(root: Browser, owner: Any) -> None:
    costs = []
    for number in range(2):
        create_key(owner, name=f"number {number}")
        root.page(reverse(LIST))
        with CaptureQueriesContext(connection) as captured:
            root.page(reverse(LIST))
        costs.append(len(captured))
    assert costs[0] == costs[1]
