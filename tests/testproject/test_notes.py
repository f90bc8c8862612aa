"""The example's notes: each is its owner's; editors publish anybody's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_secure_auth.apikeys.services import create_key
from django_secure_auth.models import Role
from django_secure_auth.rbac.services import grant
from django_secure_auth.testing import sign_in
from testproject.notes.models import MAX_BODY, Note
from tests.browser import Browser, code_of, make_user, named

pytestmark = [pytest.mark.django_db, pytest.mark.urls("testproject.urls")]

NOTES = "/api/notes/"


def signed_in(email: str) -> tuple[Browser, Any]:
    browser, user = Browser(), make_user(email)
    sign_in(browser.client, user)
    return browser, user


@pytest.fixture
def ana() -> tuple[Browser, Any]:
    return signed_in("ana@example.com")


@pytest.fixture
def foreign() -> Note:
    return Note.objects.create(owner=make_user("ben@example.com"), title="Ben's", body="secret")


def titles(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["title"] for row in response.json()["results"]]


def test_a_list_holds_the_callers_notes_and_no_others(ana: tuple[Browser, Any], foreign: Note) -> None:
    browser, user = ana
    Note.objects.create(owner=user, title="Mine")
    response = browser.request("GET", NOTES)
    assert titles(response) == ["Mine"]
    assert response.json().keys() == {"results", "next", "previous"}


def test_a_note_is_made_read_changed_and_deleted_by_its_owner(ana: tuple[Browser, Any]) -> None:
    browser, user = ana
    made = browser.request("POST", NOTES, {"title": "Plans", "body": "<b>x</b>"})
    assert made.status_code == 201
    note = made.json()
    assert note.keys() == {"id", "title", "body", "created_at", "is_published"}
    assert Note.objects.get().owner == user
    path = f"{NOTES}{note['id']}/"
    assert browser.request("GET", path).json() == note
    assert browser.request("PATCH", path, {"title": "Other"}).json() == {**note, "title": "Other"}
    assert browser.request("PUT", path, {"title": "Third", "body": ""}).json() == {**note, "title": "Third", "body": ""}
    assert browser.request("DELETE", path).status_code == 204
    assert not Note.objects.exists()


@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", None), ("PUT", {"title": "Mine now"}), ("PATCH", {"title": "Mine now"}), ("DELETE", None)],
)
def test_a_foreign_note_is_the_same_404_as_a_missing_one(
    method: str, body: Any, ana: tuple[Browser, Any], foreign: Note
) -> None:
    browser, _ = ana
    answers = [browser.request(method, f"{NOTES}{pk}/", body) for pk in (foreign.pk, foreign.pk + 1, "no-number")]
    assert {answer.status_code for answer in answers} == {404}
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    foreign.refresh_from_db()
    assert foreign.title == "Ben's"


@pytest.mark.parametrize("name", ["owner", "owner_id", "is_published", "id", "created_at", "slug"])
def test_nobody_sets_what_is_not_theirs_to_set(name: str, ana: tuple[Browser, Any]) -> None:
    response = ana[0].request("POST", NOTES, {"title": "x", name: 1})
    assert response.status_code == 400
    assert response.json()["errors"] == {name: ["Unknown field."]}
    assert not Note.objects.exists()


def test_a_body_is_stored_without_what_could_run(ana: tuple[Browser, Any]) -> None:
    hostile = '<p onclick="x()">Hi <script>alert(1)</script><a href="javascript:x()">a</a><img src=x onerror=y></p>'
    ana[0].request("POST", NOTES, {"title": "x", "body": hostile})
    assert Note.objects.get().body == "<p>Hi alert(1)<a>a</a></p>"


@pytest.mark.parametrize("body", ["x" * (MAX_BODY + 1), "&" * (MAX_BODY // 4)])
def test_a_body_that_is_too_long_is_refused_also_when_it_grows_by_being_cleaned(
    body: str, ana: tuple[Browser, Any]
) -> None:
    response = ana[0].request("POST", NOTES, {"title": "x", "body": body})
    assert response.status_code == 400
    assert "body" in response.json()["errors"]


def test_a_list_is_ordered_by_declared_columns_only(ana: tuple[Browser, Any]) -> None:
    browser, user = ana
    now = timezone.now()
    for title, age in (("b", 1), ("a", 2), ("c", 3)):
        Note.objects.create(owner=user, title=title, created_at=now - timedelta(days=age))
    assert titles(browser.request("GET", NOTES)) == ["b", "a", "c"]
    assert titles(browser.request("GET", f"{NOTES}?ordering=title")) == ["a", "b", "c"]
    assert titles(browser.request("GET", f"{NOTES}?ordering=-title")) == ["c", "b", "a"]
    assert titles(browser.request("GET", f"{NOTES}?ordering=created_at")) == ["c", "a", "b"]
    refused = browser.request("GET", f"{NOTES}?ordering=owner__password")
    assert refused.status_code == 400
    assert "Valid columns are: created_at, title" in str(refused.json()["errors"])


def test_a_long_list_has_pages(ana: tuple[Browser, Any]) -> None:
    browser, user = ana
    Note.objects.bulk_create(Note(owner=user, title=str(number)) for number in range(51))
    first = browser.request("GET", NOTES).json()
    assert (len(first["results"]), first["previous"]) == (50, None)
    assert len(titles(browser.request("GET", first["next"]))) == 1
    assert browser.request("GET", f"{NOTES}?page=3").status_code == 404


# --- publishing --------------------------------------------------------------------------------------


def test_an_editor_publishes_a_note_of_somebody_else_and_still_does_not_read_it_otherwise(foreign: Note) -> None:
    browser, editor = signed_in("editor@example.com")
    grant(editor, Role.objects.create(name="editor"))
    response = browser.request("POST", f"{NOTES}{foreign.pk}/publish/")
    assert response.status_code == 200
    assert response.json()["is_published"] is True
    foreign.refresh_from_db()
    assert foreign.is_published
    assert browser.request("GET", f"{NOTES}{foreign.pk}/").status_code == 404
    assert browser.request("POST", f"{NOTES}{foreign.pk + 1}/publish/").status_code == 404
    assert browser.request("POST", f"{NOTES}{foreign.pk}/publish/", {"is_published": False}).status_code == 400


def test_without_the_role_nobody_publishes_not_even_their_own_and_the_trail_says_what_was_lacking(
    ana: tuple[Browser, Any], foreign: Note
) -> None:
    browser, user = ana
    own = Note.objects.create(owner=user, title="Mine")
    for pk in (own.pk, foreign.pk, foreign.pk + 100):
        response = browser.request("POST", f"{NOTES}{pk}/publish/")
        assert (response.status_code, code_of(response)) == (403, "permission_denied")
    assert not Note.objects.filter(is_published=True).exists()
    assert named("authz_fail")[0].details["required_roles"] == ["editor"]


def test_strangers_keys_and_forged_writes_are_refused(ana: tuple[Browser, Any]) -> None:
    browser, user = ana
    own = Note.objects.create(owner=user, title="Mine")
    for path, method in ((NOTES, "GET"), (f"{NOTES}{own.pk}/", "GET"), (f"{NOTES}{own.pk}/publish/", "POST")):
        stranger = Browser().request(method, path)
        assert (stranger.status_code, code_of(stranger)) == (401, "not_authenticated")
        _, key = create_key(user, name="k", scopes=["notes:read"])
        assert Browser().request(method, path, headers={"X-API-Key": key}).status_code == 401
    forged = browser.request("DELETE", f"{NOTES}{own.pk}/", csrf=False)
    assert (forged.status_code, code_of(forged)) == (403, "csrf_failed")
    assert Note.objects.exists()
