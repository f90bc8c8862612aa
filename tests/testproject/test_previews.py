"""The page behind a link: its title, or a refusal that says nothing of what is inside."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from django.test import Client

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.kit.safe_fetch import UnsafeURL
from django_secure_auth.testing import sign_in
from testproject.previews import views
from testproject.previews.views import title_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls("testproject.urls")]


@pytest.fixture
def ana(django_user_model: Any) -> Client:
    model = django_user_model
    user = model.objects.create_user(**{model.USERNAME_FIELD: "ana@example.com", "password": "long-enough-1"})
    client = Client(HTTP_HOST="testserver")
    sign_in(client, user)
    return client


def preview(client: Client, **body: Any) -> Any:
    return client.post("/api/link-preview/", body, content_type="application/json", secure=True)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def get(url: str, **how: Any) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        response: httpx.Response = answer
        response.request = httpx.Request("GET", url)
        return response

    monkeypatch.setattr(views, "safe_get", get)


def test_the_title_of_a_page_is_shown(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, httpx.Response(200, html="<title> A &lt;b&gt;\n page</title><title>no</title><p>text"))
    answer = preview(ana, url="https://example.com/")
    assert answer.json() == {"url": "https://example.com/", "status": 200, "title": "A <b> page"}


def test_what_is_no_page_has_no_title(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, httpx.Response(404, text="<title>x</title>"))
    assert preview(ana, url="https://example.com/").json()["title"] == ""
    assert title_of("<p>nothing") == ""


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::ffff:169.254.169.254]/", "file:///etc/passwd", "x", "http://[x/?token=secret", ""],
)
def test_what_is_inside_is_refused_and_told(ana: Client, url: str) -> None:
    answer = preview(ana, url=url)
    if not url:
        assert answer.status_code == 400
        return
    assert (answer.status_code, answer.json()["code"]) == (422, "policy_rejected")
    assert answer.json()["detail"] == "This address cannot be fetched."
    event = SecurityEvent.objects.get(event="suspicious_request")
    assert event.user_id
    assert event.details["rule"]
    host = {"http://127.0.0.1/": "127.0.0.1", "http://[::ffff:169.254.169.254]/": "::ffff:169.254.169.254"}
    assert event.details["host"] == host.get(url, "")


def test_a_host_that_does_not_answer_is_refused_the_same_way_and_nobodys_attack(
    ana: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, UnsafeURL("time"))
    assert preview(ana, url="https://example.com/").status_code == 422
    assert not SecurityEvent.objects.filter(event="suspicious_request").exists()


def test_it_is_for_people_who_are_signed_in_and_takes_a_url_only(ana: Client) -> None:
    assert preview(Client(), url="https://example.com/").status_code == 401
    assert preview(ana, url="https://example.com/", more=1).status_code == 400
    assert preview(ana, url=5).status_code == 400
