"""No secret leaves its place: not in a body, a table, a log, a `repr` or an admin page."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.urls import reverse

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key, prove
from django_secure_auth.conf import secret_ring, signing_ring
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPChallenge, TrustedDevice
from django_secure_auth.request_scope import scope_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.state import read_state
from django_secure_auth.tokens import services as tokens
from tests.browser import PASSWORD, Browser, admin_browser, last_code, make_user, wrong_code

pytestmark = pytest.mark.django_db(transaction=True)


class Journey:
    """A person's whole way, and every secret that came up on it."""

    def __init__(self, clock: Any) -> None:
        self.bodies: list[str] = []
        self.headers: list[str] = []
        self.secrets: set[str] = {PASSWORD, "a wrong password of hers"}
        browser = Browser()
        make_user()
        self._keep(browser, browser.login(password="a wrong password of hers"))
        self._keep(browser, browser.login())
        self.secrets.add(last_code())
        self._keep(browser, browser.approve(wrong_code()))
        clock.forward(seconds=31)
        self._keep(browser, browser.resend())
        self.secrets.add(last_code())
        self._keep(browser, browser.approve())
        thief = browser.copy("refresh")
        for call in (browser.me, browser.refresh, browser.me, browser.refresh):
            self._keep(browser, call())
        self._keep(browser, browser.get("session-list"))
        # Its own answer is the one place where a key stands.
        key = browser.post("apikey-list", {"name": "ci"}).json()
        self.secrets |= {key["key"], key["key"][-49:]}
        self._keep(browser, browser.get("apikey-list"))
        self._keep(browser, browser.patch("me", {}, headers={"X-API-Key": key["key"]}))
        self._keep(browser, browser.request("GET", reverse("key-only"), headers={"X-API-Key": key["key"]}))
        self._keep(browser, browser.request("GET", reverse("key-only"), headers={"X-API-Key": key["key"] + "x"}))
        self._keep(browser, browser.patch("me", {"password": "a new password of hers"}))
        self.secrets.add("a new password of hers")
        self._keep(browser, browser.me(headers={"Authorization": f"Bearer {browser.value('access')}x"}))
        self._keep(thief, thief.refresh())
        self._keep(browser, browser.me())
        self._keep(browser, browser.logout())

    def _keep(self, browser: Browser, response: Any) -> None:
        self.bodies.append(response.content.decode())
        self.headers += [f"{name}: {value}" for name, value in response.headers.items()]
        for kind in ("access", "refresh", "challenge", "device"):
            if browser.has(kind):
                self.secrets.add(browser.value(kind))

    def found_in(self, text: str) -> set[str]:
        # A six-digit code can stand in a digest by accident: it counts where no other digit or letter touches it.
        return {
            secret
            for secret in self.secrets
            if (re.search(rf"(?<![0-9a-zA-Z.-]){secret}(?![0-9a-zA-Z-])", text) if secret.isdigit() else secret in text)
        }


@pytest.fixture
def journey(clock: Any, caplog: pytest.LogCaptureFixture) -> Journey:
    caplog.set_level(logging.DEBUG)
    return Journey(clock)


def _dump() -> str:
    lines = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608  # our own tables
            lines += [repr(row) for row in cursor.fetchall()]
    return "\n".join(lines)


@pytest.mark.control("ASVS-10.1.1", "ASVS-14.2.1")
def test_no_body_and_no_header_but_set_cookie(journey: Journey) -> None:
    """R5, R26: no credential and no code in any answer's body."""
    assert not journey.found_in("\n".join(journey.bodies))
    assert not journey.found_in("\n".join(journey.headers))


@pytest.mark.control("ASVS-7.2.3", "CS-MFA-otp-hash")
def test_no_table_holds_a_secret(journey: Journey) -> None:
    """R26, R4: neither the tokens nor anything that they are made of alone."""
    dump = _dump()
    assert "ana@example.com" in dump  # it is a dump
    assert not journey.found_in(dump)
    long = [secret for secret in journey.secrets if len(secret) >= 40]
    assert len(long) >= 4  # access, refresh, challenge, device
    for secret in long:  # nor a part that would be enough to guess the rest from
        assert secret[:40] not in dump
        assert secret[-40:] not in dump


@pytest.mark.control("ASVS-16.2.5", "CS-Logging-exclude")
def test_no_log_line_holds_a_secret(journey: Journey, caplog: pytest.LogCaptureFixture) -> None:
    """R26: at the most talkative level."""
    records = [*caplog.get_records("setup"), *caplog.records]
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in records if _is_ours(record))
    assert "authn_login_fail" in text
    assert not journey.found_in(text)


def _is_ours(record: logging.LogRecord) -> bool:
    # SQL with its parameters is what DEBUG of the database backend is for; Django's own, and off in production.
    return record.name != "django.db.backends"


def test_the_code_is_in_its_mail_only(journey: Journey) -> None:
    for message in mail.outbox:
        text = "\n".join(f"{name}: {value}" for name, value in message.message().items())
        assert not journey.found_in(text)


@pytest.mark.control("ASVS-16.2.5")
def test_no_repr_shows_a_secret(browser: Browser, rf: Any) -> None:
    """R26: what a traceback or a debugger prints."""
    user = make_user()
    browser.sign_in()
    session = Session.objects.get()
    issued = tokens.issue(session)
    request = rf.get("/", REMOTE_ADDR="192.0.2.1")
    started = otp.start(user, purpose="login", request=request, amr=["pwd"])
    state = read_state(session.pk)
    rotation = tokens.rotate(issued.refresh, request=request)
    key, text = create_key(user, name="ci")
    proof = prove(text, request=request)
    texts = [
        repr(thing)
        for thing in (
            session, issued, started, started.challenge, state, rotation, TrustedDevice.objects.get(), signing_ring(),
            secret_ring("refresh"), tokens.read_access_token(issued.access), scope_of(request), key, proof,
        )
    ] + [str(key), str(session), str(started.challenge), str(issued), str(started)]  # fmt: skip
    together = "\n".join(texts)
    fresh = get_user_model()._default_manager.get(pk=user.pk)
    secrets = [issued.access, issued.refresh, started.secret, last_code(), session.salt, started.challenge.nonce]
    secrets += [text, text[-49:], key.digest]
    secrets += [rotation.tokens.access, rotation.tokens.refresh, fresh.password, session.password_fingerprint]
    for secret in secrets:
        assert secret not in together


@pytest.mark.parametrize("model", ["session", "otpchallenge", "trusteddevice", "otpbudget", "securityevent", "apikey"])
def test_no_admin_page_shows_a_secret(journey: Journey, model: str) -> None:
    """R26, R42: lists and details render, and show neither secrets nor what is made of them."""
    root = admin_browser()
    changelist = root.page(reverse(f"admin:django_secure_auth_{model}_changelist"))
    assert changelist.status_code == 200
    pages = [changelist.content.decode()]
    pattern = rf'href="({re.escape(reverse(f"admin:django_secure_auth_{model}_changelist"))}[^"]+/change/)'
    links = re.findall(pattern, pages[0])
    assert links
    for link in links[:5]:
        page = root.page(link)
        assert page.status_code == 200
        pages.append(page.content.decode())
    text = "\n".join(pages)
    journey.secrets -= {secret for secret in journey.secrets if secret.isdigit()}
    assert not journey.found_in(text)
    hidden: list[str] = []
    for session in Session.objects.all():
        hidden += [session.salt, session.password_fingerprint]
    for challenge in OTPChallenge.objects.all():
        hidden += [challenge.nonce, challenge.secret_digest, challenge.account_fingerprint]
    hidden += list(TrustedDevice.objects.values_list("secret_digest", flat=True))
    hidden += list(APIKey.objects.values_list("digest", flat=True))
    for value in hidden:
        assert value not in text


def test_ids_that_are_shown_open_nothing(browser: Browser) -> None:
    """R42: whoever reads a session's id in a list has a name, and no credential."""
    make_user()
    identity = browser.sign_in().json()["session"]["id"]
    challenge = Browser().login().json()["challenge"]["id"]
    thief = Browser()
    thief.csrf()
    for kind, value in (("access", identity), ("refresh", identity), ("challenge", challenge), ("device", challenge)):
        thief.put(kind, value)
    assert thief.me().status_code == 401
    assert thief.approve().status_code == 401
    assert thief.refresh().status_code == 401
    assert Browser().me(headers={"Authorization": f"Bearer {identity}"}).status_code == 401
