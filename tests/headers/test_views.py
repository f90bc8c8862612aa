"""`/.well-known/`: whom to tell of a hole, and where a password is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.test import Client

from django_secure_auth.conf import Conf

pytestmark = pytest.mark.urls("django_secure_auth.headers.urls")
EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
FIELDS: dict[str, Any] = {"contact": "mailto:security@example.com", "expires": EXPIRES}


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


def test_a_password_manager_finds_the_page(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"CHANGE_PASSWORD_URL": "/account/password/"}
    answer = Client().get("/change-password")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account/password/")


@pytest.mark.parametrize("path", ["/security.txt", "/change-password"])
def test_what_is_not_set_is_not_there(path: str) -> None:
    assert Client().get(path).status_code == 404
    assert datetime.now(UTC) < EXPIRES
