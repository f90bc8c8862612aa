"""`/.well-known/`: whom to tell of a hole, and where a password is changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import transaction
from django.test import AsyncRequestFactory, Client
from django.urls import path

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.conf import Conf
from django_secure_auth.exceptions import TooLarge
from django_secure_auth.headers import views
from django_secure_auth.headers.urls import urlpatterns as well_known
from django_secure_auth.headers.views import csp_report
from django_secure_auth.kit.window import Window

urlpatterns = [*well_known, path("csp/", transaction.non_atomic_requests(csp_report))]
pytestmark = pytest.mark.urls(__name__)
EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
FIELDS: dict[str, Any] = {"contact": "mailto:security@example.com", "expires": EXPIRES}


@pytest.mark.control("ASVS-4.1.1", "RFC9116-2.5.3", "RFC9116-2.5.5", "RFC9116-3")
def test_security_txt_is_as_the_standard_writes_it(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {
        "SECURITY_TXT": {
            "contact": ["https://example.com/report", "mailto:security@example.com"],
            "expires": EXPIRES,
            "preferred_languages": "en, de",
        }
    }
    answer = Client().get("/security.txt", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.content.decode() == (
        "Contact: https://example.com/report\nContact: mailto:security@example.com\n"
        "Expires: 2030-01-02T01:04:05Z\nPreferred-Languages: en, de\n"
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"contact": "security@example.com"}, "https://"),
        ({"contact": "http://example.com"}, "https://"),
        ({"contact": []}, "one or a list"),
        ({"contact": "mailto:a@example.com\nPolicy: https://evil.example"}, "https://"),
        ({"expires": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001  # what is refused
        ({"expires": "2030-01-01"}, "time zone"),
        ({"preferred_languages": "en de"}, "language tags"),
        ({"contct": "x"}, "contct"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(change: dict[str, Any], complaint: str) -> None:
    said = Conf.SECURITY_TXT.judge({**FIELDS, **change})
    assert said is not None
    assert complaint in said


def test_what_the_standard_requires_is_required() -> None:
    assert Conf.SECURITY_TXT.judge(FIELDS) is None
    assert Conf.SECURITY_TXT.judge({"contact": "mailto:a@example.com"}) is not None
    assert Conf.SECURITY_TXT.judge("Contact: x") is not None


@pytest.mark.control("W3C-change-password", "ASVS-6.2.7")
def test_a_password_manager_finds_the_page(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"CHANGE_PASSWORD_URL": "/account/password/"}
    answer = Client().get("/change-password")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account/password/")


@pytest.mark.parametrize("path", ["/security.txt", "/change-password"])
def test_what_is_not_set_is_not_there(path: str) -> None:
    assert Client().get(path).status_code == 404
    assert datetime.now(UTC) < EXPIRES


# --- what browsers report ----------------------------------------------------------------------------

OLD = {
    "csp-report": {
        "document-uri": "https://app.example/page?token=secret#x",
        "effective-directive": "script-src-elem",
        "blocked-uri": "inline",
        "source-file": "https://ana:pw@app.example/x.js?y",
        "line-number": 7,
    }
}
NEW = [
    {
        "type": "csp-violation",
        "body": {
            "documentURL": "https://app.example/page?token=secret",
            "effectiveDirective": "img-src",
            "blockedURL": "data",
            "lineNumber": None,
        },
    },
    {"type": "deprecation", "body": {"id": "x"}},
]


@pytest.fixture(autouse=True)
def forget() -> None:
    views._told.clear()
    views._counted.clear()


def send(body: Any, kind: str = "application/csp-report") -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(enforce_csrf_checks=True).post("/csp/", text, content_type=kind)


@pytest.mark.django_db
def test_a_report_of_either_form_is_an_event_without_what_may_be_secret() -> None:
    assert send(OLD).status_code == 204
    assert send(NEW, "application/reports+json").status_code == 204
    new, old = SecurityEvent.objects.all()
    assert old.event == "csp_violation"
    assert old.details == {
        "page": "https://app.example/page",
        "directive": "script-src-elem",
        "blocked": "inline",
        "script": "https://app.example/x.js",
        "line": "7",
    }
    assert (new.details["directive"], new.details["blocked"], new.details["line"]) == ("img-src", "data", "")


@pytest.mark.django_db
def test_the_same_violation_is_told_once() -> None:
    for _ in range(3):
        assert send(OLD).status_code == 204
    assert SecurityEvent.objects.count() == 1


@pytest.mark.django_db
def test_an_address_has_sixty_a_minute() -> None:
    statuses = [send(OLD).status_code for _ in range(61)]
    assert statuses == [204] * 60 + [429]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (OLD, "application/json", 415),
        (b"x" * 16_385, "application/csp-report", 413),
        (b"{", "application/csp-report", 400),
        (b"[" * 10_000, "application/csp-report", 400),
        (b"\xff", "application/csp-report", 400),
        ({}, "application/csp-report", 400),
        ([5], "application/reports+json", 400),
        ({"csp-report": []}, "application/csp-report", 400),
    ],
)
def test_noise_is_refused_and_leaves_nothing(body: Any, kind: str, status: int) -> None:
    assert send(body, kind).status_code == status
    assert not SecurityEvent.objects.exists()


@pytest.mark.django_db
def test_a_violation_that_goes_on_is_told_again_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(views, "_told", Window(3600, timer=lambda: now[0]))
    monkeypatch.setattr(views, "_counted", Window(60, timer=lambda: now[0]))
    for now[0] in (0.0, 1800.0, 3599.0, 3600.0, 5400.0):
        assert send(OLD).status_code == 204
    assert SecurityEvent.objects.count() == 2


@pytest.mark.django_db
def test_who_goes_on_sending_has_room_again_in_the_next_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(views, "_counted", Window(60, timer=lambda: now[0]))
    statuses = []
    for second in range(0, 61):
        now[0] = float(second)
        statuses += [send(OLD).status_code, send(OLD).status_code]
    assert statuses[:60] == [204] * 60
    assert set(statuses[60:120]) == {429}
    assert statuses[120:] == [204, 204]


@pytest.mark.django_db
def test_the_body_is_bounded_whatever_its_length_says() -> None:
    small, large = json.dumps(OLD).encode(), b"[" * 100_000
    kind = "application/csp-report"
    assert Client().generic("POST", "/csp/", small, content_type=kind, CONTENT_LENGTH="x").status_code == 400
    chunked = AsyncRequestFactory().post("/csp/", large, content_type=kind)  # an ASGI server takes it without a length
    del chunked.META["CONTENT_LENGTH"]
    with pytest.raises(TooLarge):
        csp_report(chunked)


@pytest.mark.django_db
def test_members_of_any_type_are_no_defect() -> None:
    odd = {"document-uri": "https://[", "effective-directive": ["x"], "blocked-uri": 5, "line-number": {"a": 1}}
    assert send({"csp-report": odd}).status_code == 204
    assert SecurityEvent.objects.get().details == {
        "page": "", "directive": "", "blocked": "5", "script": "", "line": "",
    }  # fmt: skip


def test_it_takes_reports_only_by_post() -> None:
    assert Client().get("/csp/").status_code == 405
