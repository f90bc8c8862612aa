"""`password/reset/`: a link by mail, for whoever has forgotten the password; nobody learns who has an account."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import InvalidCredentials
from django_secure_auth.links import services as links
from django_secure_auth.links.models import MailedLink
from django_secure_auth.otp.models import OTPBudget, TrustedDevice
from django_secure_auth.recovery import services
from django_secure_auth.recovery.tasks import send_reset
from django_secure_auth.sessions.models import Session
from tests.browser import PASSWORD, Browser, Clock, change_user, code_of, is_signed_in, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
NEW = "another long pass phrase"
ANA = "ana@example.com"


@pytest.fixture(autouse=True)
def _base_url(configure: Configure) -> None:
    configure(BASE_URL="https://app.example")


@pytest.fixture
def ana() -> Any:
    return make_user(ANA)


def ask(browser: Browser, email: str = ANA) -> Any:
    return browser.post("password-reset", {"email": email})


def link() -> dict[str, str]:
    """Return uid and token of the newest mail that holds a link for it."""
    letters = "\n".join(str(one.body) for one in mail.outbox)
    found = re.findall(r"https://app\.example/reset-password/#uid=([^&\s]+)&token=(\S+)", letters)
    assert found, letters
    return {"uid": found[-1][0], "token": found[-1][1]}


def confirm(browser: Browser, new: str = NEW, **given: str) -> Any:
    return browser.post("password-reset-confirm", {**(given or link()), "new_password": new})


@pytest.mark.control("ASVS-6.4.3", "ASVS-7.4.3", "CS-ForgotPassword-nologin")
def test_a_forgotten_password_is_reset_once_and_nobody_is_signed_in(browser: Browser, ana: Any) -> None:
    other = Browser(address="198.51.100.7")
    other.sign_in()
    asked = ask(browser)
    assert (asked.status_code, asked.json()) == (202, {"status": "accepted"})
    given = link()
    assert mail.outbox[-1].to == [ANA]
    assert confirm(browser).status_code == 204
    assert not is_signed_in(browser)
    assert not any(browser.has(kind) for kind in ("access", "refresh", "challenge", "device"))
    assert code_of(other.me()) == "session_revoked"
    assert Session.objects.get().revoked_reason == "password_reset"
    assert not TrustedDevice.objects.alive().exists()
    assert code_of(Browser().login()) == "invalid_credentials"
    assert Browser().login(password=NEW).status_code == 202  # the code is not skipped
    assert code_of(confirm(browser, **given)) == "reset_invalid"
    assert named("authn_password_reset")


def test_the_same_answer_and_the_same_work_for_an_unknown_address(ana: Any) -> None:
    ask(Browser())  # prepared statements and the like
    traces = []
    for email in (ANA, "nobody@example.com"):
        browser = Browser()
        browser.csrf()
        with CaptureQueriesContext(connection) as queries:
            answer = ask(browser, email)
        # In process the worker's own look-up follows; the request's part is the same statements.
        traces.append([query["sql"].split(" ")[0] for query in queries.captured_queries][:3])
        assert (answer.status_code, answer.content) == (202, b'{"status":"accepted"}')
    assert traces[0] == traces[1]
    assert [message.to for message in mail.outbox] == [[ANA], [ANA]]
    assert MailedLink.objects.get(email="nobody@example.com").closed_reason == "no_account"


def test_the_mail_goes_to_the_address_of_the_account(browser: Browser, ana: Any) -> None:
    assert ask(browser, " ANA@Example.COM").status_code == 202
    assert mail.outbox[-1].to == [ANA]


@pytest.mark.parametrize("change", ["inactive", "unusable", "gone"])
def test_who_cannot_sign_in_gets_no_mail(browser: Browser, ana: Any, change: str) -> None:
    if change == "gone":
        ana.delete()
    elif change == "inactive":
        change_user(ana, is_active=False)
    else:
        ana.set_unusable_password()
        ana.save()
    assert ask(browser).status_code == 202
    assert not mail.outbox


@pytest.mark.parametrize("change", ["password", "email", "inactive", "expired", "key"])
def test_a_link_dies_with_what_it_was_for(browser: Browser, ana: Any, change: str, clock: Clock, settings: Any) -> None:
    ask(browser)
    if change == "password":
        change_user(ana, password="changed meanwhile")
    elif change == "email":
        change_user(ana, **{ana.get_email_field_name(): "new@example.com"})
    elif change == "inactive":
        change_user(ana, is_active=False)
    elif change == "key":
        settings.SECRET_KEY = "another secret of more than fifty characters, which nobody knows"
    else:
        clock.forward(minutes=31)
    answer = confirm(browser)
    assert (answer.status_code, code_of(answer)) == (401, "reset_invalid")
    assert named("authn_password_reset_fail")


def test_the_other_links_die_with_the_one_that_is_used(browser: Browser, ana: Any) -> None:
    ask(browser)
    first = link()
    ask(browser)
    assert confirm(browser).status_code == 204
    assert code_of(confirm(browser, **first)) == "reset_invalid"


@pytest.mark.parametrize(
    "given",
    [
        {"uid": "x", "token": "y"},
        {"uid": str(uuid4()), "token": "y"},
        {"uid": "", "token": ""},
        {"uid": "\ud83d\ude00", "token": "\u00e9"},
    ],
)
def test_noise_is_refused_alike(browser: Browser, given: dict[str, str]) -> None:
    answer = confirm(browser, **given)
    assert code_of(answer) in {"reset_invalid", "validation_error"}


def test_a_token_fits_its_own_request_only(browser: Browser, ana: Any) -> None:
    ask(browser)
    first = link()
    make_user("ben@example.com")
    ask(browser, "ben@example.com")
    assert code_of(confirm(browser, uid=link()["uid"], token=first["token"])) == "reset_invalid"


def test_a_refused_password_says_why_and_uses_nothing_up(browser: Browser, ana: Any, settings: Any) -> None:
    validation = "django.contrib.auth.password_validation.MinimumLengthValidator"
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": validation, "OPTIONS": {"min_length": 12}}]
    ask(browser)
    answer = confirm(browser, "short")
    assert (answer.status_code, code_of(answer)) == (422, "password_rejected")
    assert answer.json()["errors"]["new_password"]
    assert confirm(browser).status_code == 204


@pytest.mark.control("NIST-63B-3.2.2-b")
def test_a_reset_gives_the_budget_of_wrong_codes_back(browser: Browser, ana: Any) -> None:
    OTPBudget(user_id=ana.pk, wrong_in_a_row=conf.OTP_ACCOUNT_ATTEMPTS).save()
    assert code_of(Browser().login()) == "rate_limited"
    ask(browser)
    confirm(browser)
    assert Browser().login(password=NEW).status_code == 202


def test_mails_are_limited_for_each_address_known_or_not(browser: Browser, ana: Any) -> None:
    for email in (ANA, "nobody@example.com"):
        assert [ask(browser, email).status_code for _ in range(4)] == [202] * 3 + [429]
    assert len(mail.outbox) == 3


def test_nothing_secret_is_stored_or_logged(browser: Browser, ana: Any, caplog: pytest.LogCaptureFixture) -> None:
    ask(browser)
    token = link()["token"]
    confirm(browser)
    rows = [str(vars(row)) for row in (*MailedLink.objects.all(), *SecurityEvent.objects.all())]
    assert token not in "".join(rows) + caplog.text


def test_without_a_base_url_no_link_is_made(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(BASE_URL=None)
    answer = ask(browser)
    assert (answer.status_code, code_of(answer)) == (503, "delivery_unavailable")
    assert not MailedLink.objects.exists()


def test_a_host_header_does_not_lead_the_link_elsewhere(browser: Browser, ana: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    browser.post("password-reset", {"email": ANA}, headers={"X-Forwarded-Host": "evil.example"})
    assert "evil" not in str(mail.outbox[-1].body)
    assert link()


@pytest.mark.control("ASVS-2.3.3")
@pytest.mark.parametrize("lost", ["the link", "the password"])
def test_of_two_with_one_link_one_comes_through(
    browser: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    ask(browser)
    given = link()

    def changed(*_: Any) -> None:
        raise InvalidCredentials

    if lost == "the link":
        monkeypatch.setattr(links, "use", lambda link: False)
    else:
        monkeypatch.setattr(services, "replace_password", changed)
    assert code_of(confirm(browser, **given)) == "reset_invalid"
    assert MailedLink.objects.open().exists()  # rolled back with the rest


def test_an_app_without_cookies_gets_none(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(ALLOW_TOKEN_IN_BODY=True, BASE_URL="https://app.example")
    ask(browser)
    body = {**link(), "new_password": NEW}
    answer = browser.post("password-reset-confirm", body, headers={"X-Token-Transport": "body"}, csrf=False)
    assert answer.status_code == 204
    assert not answer.cookies


def test_sent_twice_it_is_one_mail_and_one_link(browser: Browser, ana: Any) -> None:
    ask(browser)
    reset = MailedLink.objects.get()
    send_reset(str(reset.pk))
    assert len(mail.outbox) == 1
    MailedLink.objects.update(mailed_at=None)  # the worker died before it noted that
    send_reset(str(reset.pk))
    assert mail.outbox[0].body == mail.outbox[1].body


def test_the_old_password_is_not_taken_for_a_new_one(browser: Browser, ana: Any) -> None:
    """The link proves the mailbox, not the password: nothing says whether the new one is the old."""
    ask(browser)
    assert confirm(browser, PASSWORD).status_code == 204
    assert Browser().login().status_code == 202
