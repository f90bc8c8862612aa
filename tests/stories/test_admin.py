"""Sign-in to Django's admin: password, then the mailed code; and the admin's own pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.urls import reverse
from django.utils import timezone

import django_secure_auth
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from django_secure_auth.sessions.models import Session
from tests.browser import (
    PASSWORD,
    Browser,
    admin_browser,
    change_user,
    code_of,
    last_code,
    make_staff,
    make_user,
    named,
    session_of,
    trust,
    wrong_code,
)

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def root() -> Any:
    return make_staff()


def _login() -> str:
    return reverse("admin:login")


def _password(browser: Browser, user: Any, password: str = PASSWORD, **more: str) -> Any:
    return browser.form(_login(), {"username": user.get_username(), "password": password, **more})


def _code(browser: Browser, code: str | None = None, **more: str) -> Any:
    return browser.form(_login(), {"otp_code": last_code() if code is None else code, **more})


def _is_in(browser: Browser) -> bool:
    return bool(browser.page(reverse("admin:index")).status_code == 200)


@pytest.mark.control("ASVS-6.3.4", "ADMIN-hardening")
def test_password_then_code(browser: Browser, root: Any) -> None:
    assert browser.page(_login()).status_code == 200
    asked = _password(browser, root)
    assert asked.status_code == 200
    assert b"otp_code" in asked.content
    assert not _is_in(browser)
    entered = _code(browser)
    assert entered.status_code == 302
    assert entered["Location"] == reverse("admin:index")
    assert not browser.has("challenge")
    assert _is_in(browser)
    assert named("authn_login_success")[0].details["at"] == "admin"


def test_the_mail_says_that_the_code_opens_the_administration(browser: Browser, root: Any) -> None:
    _password(browser, root)
    message: Any = mail.outbox[-1]
    assert "Purpose: sign in to the administration\n" in message.body
    assert "sign in to the administration" in message.alternatives[0][0]


def test_a_project_with_a_sign_in_page_of_its_own_still_asks_for_the_code(
    browser: Browser, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site, "login_template", "registration/logged_out.html")
    assert b"otp_code" in _password(browser, root).content
    assert _code(browser).status_code == 302


def test_a_signed_in_administrator_is_sent_on(root: Any) -> None:
    browser = admin_browser("second@example.com")
    assert browser.page(_login())["Location"] == reverse("admin:index")


def test_a_device_that_is_trusted_for_the_api_needs_a_code_here(browser: Browser, root: Any, configure: Any) -> None:
    trust(browser, root)
    configure(OTP_POLICY="never")
    assert b"otp_code" in _password(browser, root).content


def test_a_huge_password_reaches_no_hasher(browser: Browser, root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R29: at the admin's door too."""
    monkeypatch.setattr("django_secure_auth.passwords.services.authenticate", None)
    for password in ("x" * 257, "x" * 1_000_000, "\U0001f600" * 257):
        response = _password(browser, root, password)
        assert response.status_code == 200
        assert b"errornote" in response.content


@pytest.mark.parametrize("password", ["wrong", "x" * 256])
def test_a_wrong_password(browser: Browser, root: Any, password: str) -> None:
    response = _password(browser, root, password)
    assert response.status_code == 200
    assert b"otp_code" not in response.content
    assert not mail.outbox
    assert named("authn_login_fail")


def test_unknown_inactive_and_common_users_look_alike(root: Any) -> None:
    common, gone = make_user("ana@example.com"), make_staff("gone@example.com", is_active=False)
    answers = set()
    for name in (root.get_username(), common.get_username(), gone.get_username(), "nobody"):
        browser = Browser()
        password = "wrong" if name == root.get_username() else PASSWORD
        response = browser.form(_login(), {"username": name, "password": password})
        text = response.content.decode().replace(name, "NAME")
        start = text.index('class="errornote"')
        answers.add((response.status_code, text[start : text.index("</p>", start)]))
    assert len(answers) == 1
    assert not mail.outbox


@pytest.mark.parametrize("data", [{}, {"username": "x"}, {"password": "x"}, {"username": "\0", "password": "x"}])
def test_an_incomplete_form_is_shown_again(browser: Browser, data: dict[str, str]) -> None:
    response = browser.form(_login(), data)
    assert response.status_code == 200
    assert b"errornote" in response.content or b"errorlist" in response.content


def test_wrong_codes_close_the_challenge(browser: Browser, root: Any) -> None:
    """R17: here too."""
    _password(browser, root)
    right = last_code()
    for _ in range(5):
        assert _code(browser, wrong_code()).status_code == 200
    response = _code(browser, right)
    assert response.status_code == 200
    assert b"start again" in response.content
    assert not _is_in(browser)


def test_a_code_after_the_accounts_budget_is_told(browser: Browser, root: Any) -> None:
    """R48: here too."""
    _password(browser, root)
    OTPBudget.objects.create(user_id=root.pk, wrong_in_a_row=50)
    response = _code(browser)
    assert response.status_code == 200
    assert b"start again" in response.content
    assert not _is_in(browser)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", " 12345", "12 456"])
def test_an_ill_formed_code_uses_no_attempt(browser: Browser, root: Any, code: str) -> None:
    """R21: only ASCII digits."""
    _password(browser, root)
    response = _code(browser, code)
    assert b"otp_code" in response.content
    assert OTPChallenge.objects.get().attempts == 0
    assert _code(browser).status_code == 302


def test_a_code_without_a_challenge_is_told(browser: Browser, root: Any) -> None:
    response = _code(browser, "123456")
    assert response.status_code == 200
    assert b"start again" in response.content


def test_a_code_of_the_api_opens_no_admin(browser: Browser, root: Any) -> None:
    browser.login("root@example.com")
    _code(browser)
    assert not _is_in(browser)


def test_forms_need_the_csrf_token(browser: Browser, root: Any) -> None:
    """R6: sign-in to the admin as well."""
    browser.page(_login())
    response = browser.form(_login(), {"username": root.get_username(), "password": PASSWORD}, csrf=False)
    assert response.status_code == 403
    _password(browser, root)
    assert browser.form(_login(), {"otp_code": last_code()}, csrf=False).status_code == 403
    assert not _is_in(browser)


def test_a_session_opened_by_other_means_is_not_accepted(browser: Browser, root: Any) -> None:
    """R7: a host's own login view has proven a password, and no code."""
    browser.client.force_login(root)
    assert not _is_in(browser)
    assert browser.page(_login()).status_code == 200


def test_an_api_session_opens_no_admin(browser: Browser, root: Any) -> None:
    browser.sign_in("root@example.com")
    assert not _is_in(browser)


def test_a_new_sign_in_closes_the_old_challenge(browser: Browser, root: Any) -> None:
    """R19: here too."""
    _password(browser, root)
    old = browser.copy("challenge")
    code = last_code()
    _password(browser, root)
    assert _code(old, code).status_code == 200
    assert OTPChallenge.objects.open().count() == 1


@pytest.mark.parametrize("change", [{"password": "another long password"}, {"is_active": False}])
def test_a_change_of_the_account_ends_the_admin_session(change: dict[str, Any]) -> None:
    """R20: Django's own session hash and our challenge."""
    browser = admin_browser()
    user = get_user_model()._default_manager.get()
    change_user(user, **change)
    assert not _is_in(browser)


def test_signing_out_of_the_admin(root: Any) -> None:
    browser = admin_browser("second@example.com")
    assert browser.form(reverse("admin:logout"), {}).status_code == 200
    assert not _is_in(browser)


@pytest.mark.control("ASVS-6.3.1")
def test_limits_hold_at_the_admin_too(browser: Browser, root: Any, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_account": "2/15m"})
    for _ in range(2):
        _password(browser, root, "wrong")
    response = _password(browser, root)
    assert b"otp_code" not in response.content
    assert b"Too many" in response.content
    _password(browser, root)
    assert len(named("excess_rate_limit_exceeded")) == 1


def test_the_limit_of_codes_holds_at_the_admin(browser: Browser, root: Any, configure: Configure) -> None:
    configure(RATE_LIMITS={"otp": "1/15m"})
    _password(browser, root)
    response = _password(browser, root)
    assert b"otp_code" not in response.content
    assert b"Too many" in response.content


def test_limits_that_cannot_count_close_the_door(
    browser: Browser, root: Any, configure: Configure, settings: Any
) -> None:
    settings.CACHES = {**settings.CACHES, "away": {"BACKEND": "tests.stories.caches.AwayCache"}}
    configure(RATE_LIMIT_CACHE="away")
    response = _password(browser, root)
    assert response.status_code == 200
    assert b"otp_code" not in response.content
    assert b"errornote" in response.content


def test_any_configured_backend_will_do(browser: Browser, root: Any, settings: Any) -> None:
    """R24: a project without Django's own backend signs in to the admin as well."""
    settings.AUTHENTICATION_BACKENDS = ["tests.stories.backends.SilentBackend", "tests.stories.backends.OwnBackend"]
    _password(browser, root)
    _code(browser)
    assert _is_in(browser)


def test_mail_away_is_told_in_the_form(browser: Browser, root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.settings_dict["ATOMIC_REQUESTS"]:
        return  # the outage shows at commit, behind the view: a 503, as in test_host_views.py
    monkeypatch.setattr("django_secure_auth.mail.send_templated", _refuse)
    monkeypatch.setattr("django_secure_auth.otp.tasks.send_templated", _refuse)
    response = _password(browser, root)
    assert b"otp_code" not in response.content
    assert b"could not be sent" in response.content
    assert not OTPChallenge.objects.open().exists()


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise ConnectionRefusedError


REDIRECTS = [
    "https://evil.example/", "//evil.example", "///evil.example", "https:evil.example", "/\\evil.example",
    "\\\\evil.example", "http:///evil.example", "javascript:alert(1)", " //evil.example", "\x08//evil.example",
    "https://testserver@evil.example/", "https://testserver.evil.example/", "http://testserver/admin/",
    "data:text/html,x", "/\t/evil.example", "\x00//evil.example", "ftp://testserver/", "https:%2f%2fevil.example",
]  # fmt: skip


@pytest.mark.control("ASVS-3.7.2")
@pytest.mark.parametrize("target", REDIRECTS)
def test_sign_in_never_redirects_to_another_site(browser: Browser, root: Any, target: str, settings: Any) -> None:
    """R23: also with `ALLOWED_HOSTS = ["*"]`."""
    settings.ALLOWED_HOSTS = ["*"]
    index = reverse("admin:index")
    page = browser.client.get(_login(), {"next": target}, secure=True)
    assert f'value="{index}"' in page.content.decode()
    _password(browser, root, next=target)
    assert _code(browser, next=target)["Location"] == index
    again = browser.client.get(_login(), {"next": target}, secure=True)
    assert again["Location"] == index


@pytest.mark.control("ASVS-1.1.1")
@pytest.mark.parametrize(
    "target", ["/%2f%2fevil.example", "https%3a//evil.example", "https%253a%252f%252fevil.example"]
)
def test_what_only_a_second_decoding_would_lead_elsewhere_stays_here(browser: Browser, root: Any, target: str) -> None:
    browser.client.get(_login(), {"next": target}, secure=True)
    _password(browser, root, next=target)
    assert urlsplit(urljoin("https://testserver/", _code(browser, next=target)["Location"])).netloc == "testserver"


def test_sign_in_goes_where_it_was_meant_to(browser: Browser, root: Any) -> None:
    target = reverse("admin:django_secure_auth_session_changelist")
    first = browser.page(target)
    assert first.status_code == 302
    assert target in first["Location"]
    assert target in _password(browser, root, next=target).content.decode()
    assert _code(browser, next=target)["Location"] == target


# --- pages and actions


@pytest.fixture
def populated(browser: Browser) -> Browser:
    user = make_user()
    browser.sign_in()
    OTPBudget.objects.update_or_create(user_id=user.pk, defaults={"wrong_in_a_row": 3})
    for _ in range(2):
        Browser().login()
    OTPChallenge.objects.filter(used_at=None).order_by("created_at")[:1].get()
    closed = Browser()
    closed.login()
    closed.logout()
    expired = Browser()
    expired.login()
    latest = OTPChallenge.objects.order_by("-created_at")[0]
    OTPChallenge.objects.filter(pk=latest.pk).update(expires_at=timezone.now())
    return browser


@pytest.mark.parametrize("model", ["session", "otpchallenge", "trusteddevice", "otpbudget", "securityevent"])
def test_pages_render_and_are_read_only(populated: Browser, model: str) -> None:
    root = admin_browser()
    changelist = reverse(f"admin:django_secure_auth_{model}_changelist")
    for query in ("", "?q=192.0.2.1", "?q=noise", "?q=ana@example.com"):
        assert root.page(changelist + query).status_code == 200, query
    assert root.page(f"{changelist}add/").status_code == 403


@pytest.mark.parametrize("state", ["alive", "ended"])
def test_sessions_are_filtered_by_state(populated: Browser, state: str) -> None:
    root = admin_browser()
    living = Session.objects.get()
    Session.objects.exclude(pk=living.pk).delete()
    page = root.page(reverse("admin:django_secure_auth_session_changelist") + f"?state={state}")
    assert (str(living.pk) in page.content.decode()) == (state == "alive")


def test_challenges_say_their_state(populated: Browser) -> None:
    root = admin_browser()
    text = root.page(reverse("admin:django_secure_auth_otpchallenge_changelist")).content.decode()
    for word in ("approved", "closed", "open", "expired"):
        assert f">{word}<" in text


def test_challenges_are_closed_by_an_action(populated: Browser) -> None:
    root = admin_browser()
    open_one = Browser()
    open_one.login()
    code = last_code()
    root.form(
        reverse("admin:django_secure_auth_otpchallenge_changelist"),
        {
            "action": "close_selected",
            "_selected_action": [str(pk) for pk in OTPChallenge.objects.values_list("pk", flat=True)],
        },
    )
    assert not OTPChallenge.objects.open().exists()
    assert code_of(open_one.approve(code)) == "challenge_invalid"


def test_devices_are_distrusted_by_an_action(browser: Browser) -> None:
    trust(browser, make_user())
    device = TrustedDevice.objects.get()
    root = admin_browser()
    changelist = reverse("admin:django_secure_auth_trusteddevice_changelist")
    response = root.form(changelist, {"action": "revoke_selected", "_selected_action": str(device.pk)})
    assert response.status_code == 302
    assert browser.login().status_code == 202
    assert str(device) == "Firefox on Linux"


def test_sessions_cannot_be_erased_in_bulk(populated: Browser) -> None:
    """The row says who was signed in; ending keeps it."""
    root = admin_browser()
    page = root.page(reverse("admin:django_secure_auth_session_changelist")).content.decode()
    assert "end_selected" in page
    assert "delete_selected" not in page


def test_events_cannot_be_changed_or_deleted(populated: Browser) -> None:
    root = admin_browser()
    event = named("authn_login_success")[0]
    for action in ("delete", "change"):
        path = reverse(f"admin:django_secure_auth_securityevent_{action}", args=[event.pk])
        assert root.form(path, {"post": "yes", "message": "x"}).status_code == 403
    assert named("authn_login_success")[0].message == event.message


def test_deleting_a_budget_gives_an_account_its_codes_back(populated: Browser, configure: Configure) -> None:
    configure(OTP_ACCOUNT_ATTEMPTS=5)
    OTPBudget.objects.update(wrong_in_a_row=5)
    other = Browser(address="198.51.100.1")
    assert other.login().status_code == 429
    budget = OTPBudget.objects.get()
    assert "5" in str(budget)
    root = admin_browser()
    path = reverse("admin:django_secure_auth_otpbudget_delete", args=[budget.pk])
    assert root.form(path, {"post": "yes"}).status_code == 302
    assert other.login().status_code == 202


def test_ending_one_session_leaves_the_others(populated: Browser) -> None:
    other = session_of(Browser().sign_in())
    root = admin_browser()
    root.form(
        reverse("admin:django_secure_auth_session_changelist"),
        {"action": "end_selected", "_selected_action": str(other.pk)},
    )
    assert populated.me().status_code == 200


@pytest.mark.control("ASVS-6.2.6", "ASVS-6.2.7", "NIST-63B-3.1.1.2-e")
def test_a_password_manager_fills_the_forms_and_nobody_reads_over_a_shoulder(browser: Browser, root: Any) -> None:
    entry = browser.page(_login()).content.decode()
    (password,) = re.findall(r'<input[^>]*name="password"[^>]*>', entry)
    assert 'type="password"' in password
    assert 'autocomplete="current-password"' in password
    assert "maxlength" not in password
    (name,) = re.findall(r'<input[^>]*name="username"[^>]*>', entry)
    assert 'autocomplete="username"' in name
    asked = _password(browser, root).content.decode()
    (code,) = re.findall(r'<input[^>]*name="otp_code"[^>]*>', asked)
    assert 'autocomplete="one-time-code"' in code


@pytest.mark.control("ASVS-6.2.6", "ASVS-6.2.7", "NIST-63B-3.1.1.2-e")
def test_no_template_shows_a_password_or_stops_paste_and_autofill() -> None:
    templates = sorted(Path(django_secure_auth.__file__).parent.rglob("*.html"))
    assert templates
    for page in templates:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"onpaste|oncopy|autocomplete=[\"']?off", text)
        for field in re.findall(r"<input[^>]*password[^>]*>", text):
            assert 'type="password"' in field
