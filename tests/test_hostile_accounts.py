"""Any text in every field of opening and changing an account: no defect, one recipient, no foreign link in a mail.

A hundred examples for each endpoint; the long form, ten thousand for each, is nightly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_secure_auth.testing import sign_in
from tests.browser import PASSWORD, Browser, make_user
from tests.test_hostile_input import _judge, json_values

pytestmark = pytest.mark.django_db(transaction=True)  # or nothing would ever be mailed
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
BASE_URL = "https://app.example"

addresses = st.one_of(
    st.emails(),
    st.text(max_size=80),
    st.builds("{}@{}".format, st.text(min_size=1, max_size=40), st.sampled_from(["example.com", "bücher.example"])),
    st.sampled_from([
        "a@example.com\nBcc: eve@evil.example", "a@example.com%0aBcc:eve@evil.example", "<script>@example.com",
        '"a b"@example.com', "a@[127.0.0.1]", "a@example.com\u0000", "ａ@example.com", "a@ex\u00adample.com",
        "{{ link }}@example.com", "a@example.com,b@example.com", "a@example.com;b@example.com", "ana@example.com",
        "=?utf-8?q?a?=@example.com", "new@example.com",
    ]),
)  # fmt: skip
passwords = st.text(max_size=300) | st.just(PASSWORD) | json_values
texts = st.text(max_size=200) | json_values
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "register": {"email": addresses, "password": passwords},
    "register-verify": {"otp_code": texts},
    "password-reset": {"email": addresses | json_values},
    "password-reset-confirm": {"uid": texts | st.uuids().map(str), "token": texts, "new_password": passwords},
    "not-me": {"uid": texts | st.uuids().map(str), "token": texts},
    "email-undo": {"uid": texts | st.uuids().map(str), "token": texts},
    "email-change": {"new_email": addresses | json_values},
    "password-change": {"current_password": passwords, "new_password": passwords},
    "reauthenticate": {"password": passwords},
}
SIGNED_IN = {"email-change", "password-change", "reauthenticate"}


@pytest.fixture
def attacked(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("ana@example.com")
    configure(BASE_URL=BASE_URL)
    monkeypatch.setattr("django_secure_auth.ratelimit.services.take", lambda *_: 1)  # or limits would answer for all


def _attack(name: str, body: dict[str, Any], user_agent: str) -> int:
    mail.outbox.clear()
    browser = Browser(user_agent=user_agent)
    browser.client.raise_request_exception = False
    if name in SIGNED_IN:
        user: Any = get_user_model()._default_manager.first() or make_user()
        sign_in(browser.client, user)
    response = browser.post(name, json.dumps(body))
    _judge(response, "POST")
    for message in mail.outbox:
        raw = message.message()
        assert set(raw.keys()) <= {"Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID"}
        assert len(message.to) == 1
        assert "\n" not in str(message.subject)
        pages = [str(message.body), *(str(content) for content, _ in message.alternatives)]
        for link in re.findall(r"""https?://[^\s"'<>]+""", "".join(pages)):
            assert link.startswith((f"{BASE_URL}/", BASE_URL)), link
        assert not re.search(r"<script|<img|<iframe", "".join(pages[1:]), re.IGNORECASE)
    return len(mail.outbox)


agents = st.sampled_from(
    ["Firefox/128.0 (X11; Linux)", "<a href=https://evil.example>x</a>", "https://evil.example/", "\x1b[31m", ""]
)


@pytest.mark.parametrize("name", FIELDS)
@settings(deadline=None, suppress_health_check=QUIET)
@given(data=st.data())
def test_any_text_may_be_typed(attacked: None, name: str, data: st.DataObject) -> None:
    _attack(name, data.draw(st.fixed_dictionaries(FIELDS[name])), data.draw(agents))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("register", {"email": "new@example.com", "password": PASSWORD}),
        ("register", {"email": "ana@example.com", "password": PASSWORD}),
        ("password-reset", {"email": "ana@example.com"}),
        ("email-change", {"new_email": "new@example.com"}),
    ],
)
def test_mails_are_among_what_is_looked_at(attacked: None, name: str, body: dict[str, Any]) -> None:
    assert _attack(name, body, "<script>https://evil.example/</script>") == 1


@pytest.mark.nightly
@pytest.mark.parametrize("name", FIELDS)
@settings(deadline=None, suppress_health_check=QUIET, max_examples=10_000)
@given(data=st.data())
def test_ten_thousand_texts_may_be_typed(attacked: None, name: str, data: st.DataObject) -> None:
    _attack(name, data.draw(st.fixed_dictionaries(FIELDS[name])), data.draw(agents))
