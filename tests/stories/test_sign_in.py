"""Sign-in: password, mailed code, trusted devices, and the cookies that come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone, translation

from django_secure_auth.conf import conf
from django_secure_auth.otp.models import OTPChallenge, TrustedDevice
from django_secure_auth.otp.tasks import send_code
from django_secure_auth.sessions.models import Session
from django_secure_auth.tokens.cookies import mount_point
from tests.browser import (
    PASSWORD,
    Browser,
    change_user,
    code_of,
    cookie,
    is_signed_in,
    last_code,
    make_staff,
    make_user,
    named,
    session_of,
    set_cookies,
    trust,
    url,
    wrong_code,
)

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.mark.control("ASVS-7.2.2")
def test_password_and_mailed_code_sign_in(browser: Browser) -> None:
    user = make_user()
    asked = browser.login()
    assert asked.status_code == 202
    body = asked.json()
    assert body["status"] == "otp_required"
    challenge = body["challenge"]
    assert challenge.keys() == {"id", "purpose", "sent_to", "expires_at", "resend_at", "attempts_left"}
    assert challenge["purpose"] == "login"
    assert challenge["sent_to"] == "a***@example.com"
    assert challenge["attempts_left"] == 5
    assert not is_signed_in(browser)

    opened = browser.approve()
    assert opened.status_code == 200
    body = opened.json()
    assert body.keys() == {"status", "user", "session", "access_expires_at"}
    assert body["status"] == "authenticated"
    assert body["user"] == {"id": str(user.pk), "email": "ana@example.com", "roles": []}
    assert body["session"].keys() == {"id", "created_at", "idle_expires_at", "expires_at", "remember_me", "amr"}
    assert body["session"]["amr"] == ["pwd", "email"]
    assert body["session"]["remember_me"] is False
    assert browser.me().json()["email"] == "ana@example.com"


def test_times_are_rfc_3339_in_utc(browser: Browser) -> None:
    make_user()
    asked = browser.login().json()["challenge"]
    opened = browser.approve().json()
    times = [asked["expires_at"], asked["resend_at"], opened["access_expires_at"]]
    times += [opened["session"][name] for name in ("created_at", "idle_expires_at", "expires_at")]
    for text in times:
        assert text.endswith("Z")
        assert datetime.fromisoformat(text).utcoffset() == timedelta(0)


def test_the_mail_names_purpose_device_and_place(browser: Browser) -> None:
    make_user()
    browser.login()
    message: Any = mail.outbox[-1]
    assert message.to == ["ana@example.com"]
    assert "Firefox on Linux" in message.body
    assert "192.0.2.1" in message.body
    assert "sign" in message.subject
    assert "Purpose: sign in\n" in message.body
    html, kind = message.alternatives[0]
    assert kind == "text/html"
    assert last_code() in html


def test_a_trusted_device_skips_the_code(browser: Browser) -> None:
    user = make_user()
    trust(browser, user)
    sent = len(mail.outbox)
    response = browser.login()
    assert response.status_code == 200
    assert response.json()["session"]["amr"] == ["pwd"]
    assert len(mail.outbox) == sent


def test_a_device_is_trusted_for_its_own_user_only(browser: Browser) -> None:
    trust(browser, make_user())
    make_user("ben@example.com")
    assert browser.login("ben@example.com").status_code == 202


def test_two_users_of_one_browser_are_both_trusted(browser: Browser) -> None:
    trust(browser, make_user())
    first = browser.value("device")
    trust(browser, make_user("ben@example.com"))
    assert browser.value("device") != first
    assert browser.login("ana@example.com").status_code == 200
    assert browser.login("ben@example.com").status_code == 200


def test_a_planted_device_cookie_is_worth_nothing_after_approval(browser: Browser) -> None:
    """The secret is drawn anew at each approval: who planted the old one knows nothing."""
    user = make_user()
    trust(browser, user)
    planted = browser.copy("device")
    TrustedDevice.objects.all().update(expires_at=timezone.now() - timedelta(seconds=1))
    trust(browser, user)
    assert planted.login().status_code == 202


@pytest.mark.parametrize("noise", ["", "x", "A" * 48, "é", "\x7f"])
def test_noise_in_the_device_cookie_is_an_unknown_device(browser: Browser, noise: str) -> None:
    make_user()
    browser.csrf()
    browser.put("device", noise)
    assert browser.login().status_code == 202


def test_device_trust_ends_after_its_time(browser: Browser, clock: Any) -> None:
    trust(browser, make_user())
    clock.forward(conf.TRUSTED_DEVICE_TTL + timedelta(seconds=1))
    assert browser.login().status_code == 202


@pytest.mark.control("ASVS-6.3.3")
def test_staff_always_need_a_code(browser: Browser, configure: Configure) -> None:
    trust(browser, make_staff())
    configure(OTP_POLICY="never")
    assert browser.login("root@example.com").status_code == 202


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_each_privilege_alone_needs_a_code(browser: Browser, configure: Configure, flag: str) -> None:
    configure(OTP_POLICY="never")
    make_user(**{flag: True})
    assert browser.login().status_code == 202


@pytest.mark.parametrize(("policy", "first", "second"), [("always", 202, 202), ("never", 200, 200)])
def test_policies(browser: Browser, configure: Configure, policy: str, first: int, second: int) -> None:
    configure(OTP_POLICY=policy)
    make_user()
    response = browser.login()
    assert response.status_code == first
    if first == 202:
        browser.approve()
    assert browser.login().status_code == second


@pytest.mark.parametrize(
    ("answer", "status"), [(False, 200), (True, 202), (None, 202), (0, 202), ("", 202), ("no", 202)]
)
def test_a_callable_policy_opens_only_with_false(
    browser: Browser, configure: Configure, answer: Any, status: int
) -> None:
    """A mistake in a host's policy must ask for a code, not skip it."""
    seen = []

    def policy(user: Any, request: Any) -> Any:
        seen.append((user.pk, getattr(request, "_request", request)))
        return answer

    configure(OTP_POLICY=policy)
    user = make_user()
    assert browser.login().status_code == status
    assert [pk for pk, _ in seen] == [user.pk]
    assert isinstance(seen[0][1], HttpRequest)


# --- cookies


@pytest.mark.control("NIST-63B-5.1-c")
def test_without_remember_me_cookies_end_with_the_browser(browser: Browser) -> None:
    make_user()
    response = browser.sign_in()
    for kind in ("__Host-secure_auth_access", "__Secure-secure_auth_refresh"):
        assert response.cookies[kind]["max-age"] == ""
        assert response.cookies[kind]["expires"] == ""


def test_remember_me_keeps_cookies_until_the_idle_deadline(browser: Browser) -> None:
    make_user()
    response = browser.sign_in(remember_me=True)
    session = session_of(response)
    assert session.remember_me
    assert session.absolute_at - session.created_at == timedelta(days=30)
    for kind in ("__Host-secure_auth_access", "__Secure-secure_auth_refresh"):
        assert abs(response.cookies[kind]["max-age"] - 14 * 86400) < 5
    refreshed = browser.refresh()
    assert abs(refreshed.cookies["__Secure-secure_auth_refresh"]["max-age"] - 14 * 86400) < 5


@pytest.mark.control(
    "ASVS-3.3.1",
    "ASVS-3.3.2",
    "ASVS-3.3.3",
    "ASVS-3.3.4",
    "RFC6265bis-4.1.3.2",
    "NIST-63B-5.1-a",
    "NIST-63B-5.1-c",
    "NIST-63B-5.1-d",
)
def test_names_and_attributes_of_all_cookies(browser: Browser) -> None:
    """R5: Secure and HttpOnly always, and exactly our four cookies beside Django's CSRF cookie."""
    make_user()
    asked = set_cookies(browser.login())
    opened = set_cookies(browser.approve())
    assert asked.keys() == {"__Host-secure_auth_challenge"}
    assert opened.keys() == {"__Host-secure_auth_access", "__Secure-secure_auth_refresh", "__Host-secure_auth_device"}
    samesite = {
        "__Host-secure_auth_access": ("Lax", "/"),
        "__Secure-secure_auth_refresh": ("Strict", mount_point()),
        "__Host-secure_auth_challenge": ("Strict", "/"),
        "__Host-secure_auth_device": ("Lax", "/"),
    }
    for name, morsel in (asked | opened).items():
        assert (morsel["samesite"], morsel["path"]) == samesite[name]
        assert morsel["secure"] is True
        assert morsel["httponly"] is True
        assert morsel["domain"] == ""
        assert len(name) + len(morsel.value) < 4096
    assert opened["__Host-secure_auth_device"]["max-age"] == pytest.approx(180 * 86400, abs=5)
    assert "sessionid" not in browser.client.cookies


def test_the_challenge_cookie_goes_when_the_code_is_approved(browser: Browser) -> None:
    make_user()
    browser.login()
    assert browser.has("challenge")
    browser.approve()
    assert not browser.has("challenge")


def test_plain_http_for_development_drops_the_prefixes(configure: Configure, settings: Any) -> None:
    settings.DEBUG = True
    configure(COOKIE_SECURE=False)
    make_user()
    browser = Browser(secure=False)
    asked = set_cookies(browser.login())
    opened = set_cookies(browser.approve())
    assert (asked | opened).keys() == {
        "secure_auth_challenge", "secure_auth_access", "secure_auth_refresh", "secure_auth_device",
    }  # fmt: skip
    assert not any(morsel["secure"] for morsel in (asked | opened).values())
    assert all(morsel["httponly"] for morsel in (asked | opened).values())
    assert is_signed_in(browser)


def test_prefix_and_samesite_are_settings(browser: Browser, configure: Configure) -> None:
    configure(COOKIE_PREFIX="shop", ACCESS_COOKIE_SAMESITE="Strict")
    make_user()
    morsel = browser.sign_in().cookies["__Host-shop_access"]
    assert morsel["samesite"] == "Strict"
    assert is_signed_in(browser)


# --- who signs in


@pytest.mark.parametrize("typed", [" Ana@Example.COM", "ana@example.com ", "ANA@EXAMPLE.COM", "ａna@example.com"])
def test_one_canonical_form_finds_the_account(browser: Browser, typed: str) -> None:
    """R12: blanks, case and full-width letters are the same name, for look-up as for counters."""
    make_user()
    assert browser.login(typed).status_code == 202


def test_an_accent_is_another_name(browser: Browser) -> None:
    """R12: `ána` is not `ana`, whatever the database's collation says."""
    make_user()
    assert code_of(browser.login("ána@example.com")) == "invalid_credentials"


def _has_unique_email() -> bool:
    model = get_user_model()
    return bool(model._meta.get_field(model.get_email_field_name()).unique)  # type: ignore[union-attr]  # a column


def test_of_twins_only_an_exact_match_signs_in(browser: Browser) -> None:
    """R12: twins of one e-mail in an old table: the exact spelling signs in, another one nobody."""
    if _has_unique_email():
        return  # this user model can have none
    lower, upper = make_user("ana@example.com"), make_user("Ana@Example.com", "another battery staple")
    assert code_of(browser.login("ANA@example.com")) == "invalid_credentials"
    assert browser.sign_in("ana@example.com").json()["user"]["id"] == str(lower.pk)
    second = Browser().sign_in("Ana@Example.com", "another battery staple")
    assert second.json()["user"]["id"] == str(upper.pk)
    make_user("ana@example.com")
    assert code_of(browser.login("ana@example.com")) == "invalid_credentials"


def test_the_password_counts_verbatim(browser: Browser) -> None:
    """R29: no blank is trimmed from a password."""
    make_user(password=" padded password ")
    assert code_of(browser.login(password="padded password")) == "invalid_credentials"
    assert browser.login(password=" padded password ").status_code == 202


@pytest.mark.parametrize("stored", ["pässwörd ﬁne", "pa\u0308sswo\u0308rd ﬁne"])
@pytest.mark.parametrize("typed", ["pässwörd ﬁne", "pa\u0308sswo\u0308rd ﬁne"])
def test_a_password_is_found_in_either_normal_form(browser: Browser, stored: str, typed: str) -> None:
    """R29: NFC first; what an older form stored undecomposed or decomposed is found as it was typed then."""
    make_user(password=stored)
    status = browser.login(password=typed).status_code
    assert status == (202 if stored in {typed, "pässwörd ﬁne"} else 401)


def test_a_rehash_at_sign_in_ends_nothing(browser: Browser, settings: Any) -> None:
    user = make_user()
    browser.sign_in()
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher", *settings.PASSWORD_HASHERS,
    ]  # fmt: skip
    before = get_user_model()._default_manager.get(pk=user.pk).password
    second = Browser()
    second.sign_in()
    assert get_user_model()._default_manager.get(pk=user.pk).password != before
    assert is_signed_in(browser)
    assert is_signed_in(second)
    assert browser.refresh().status_code == 200


@pytest.mark.parametrize("stored", ["pa\u0308sswo\u0308rd of old", "pässwörd of old"])
def test_a_rehash_of_a_decomposed_password_ends_nothing(browser: Browser, settings: Any, stored: str) -> None:
    decomposed = "pa\u0308sswo\u0308rd of old"
    make_user(password=stored)
    browser.sign_in(password=decomposed)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher", *settings.PASSWORD_HASHERS,
    ]  # fmt: skip
    Browser().sign_in(password=decomposed)
    assert is_signed_in(browser)


def test_only_the_backends_decide(browser: Browser, settings: Any) -> None:
    """R24: a right password does not help where an authentication backend refuses."""
    make_user()
    settings.AUTHENTICATION_BACKENDS = ["tests.stories.backends.RefusingBackend"]
    assert code_of(browser.login()) == "invalid_credentials"


def test_a_backend_that_answers_for_somebody_else_signs_nobody_in(browser: Browser, settings: Any) -> None:
    """R24: the account that was named is the one that must be proven."""
    make_user()
    make_user("mallory@example.com")
    settings.AUTHENTICATION_BACKENDS = ["tests.stories.backends.MalloryBackend"]
    assert code_of(browser.login()) == "invalid_credentials"


def test_an_account_without_password_cannot_sign_in(browser: Browser) -> None:
    user = make_user()
    get_user_model()._default_manager.filter(pk=user.pk).update(password=make_password(None))
    assert code_of(browser.login()) == "invalid_credentials"
    get_user_model()._default_manager.filter(pk=user.pk).update(password="")
    assert code_of(browser.login(password="x")) == "invalid_credentials"


# --- one credential in one browser


def test_signing_in_as_somebody_else_ends_the_old_session(browser: Browser) -> None:
    make_user()
    make_user("ben@example.com")
    first = session_of(browser.sign_in())
    tab = browser.copy("access", "refresh")
    browser.sign_in("ben@example.com")
    first.refresh_from_db()
    assert first.revoked_reason == "replaced"
    assert code_of(tab.me()) == "session_revoked"
    assert browser.me().json()["email"] == "ben@example.com"


def test_signing_in_again_replaces_the_session_of_the_browser(browser: Browser) -> None:
    make_user()
    browser.sign_in()
    first = browser.value("refresh")
    browser.login()
    assert browser.value("refresh") != first
    assert Session.objects.alive().count() == 1


def test_a_failed_sign_in_leaves_the_session_alone(browser: Browser) -> None:
    make_user()
    browser.sign_in()
    assert browser.login(password="wrong").status_code == 401
    assert is_signed_in(browser)


def test_a_new_sign_in_discards_the_old_challenge(browser: Browser) -> None:
    """R19: what the last user of the browser left half-done is closed by the next sign-in."""
    make_user()
    make_user("ben@example.com")
    browser.login()
    old = browser.copy("challenge")
    first_code = last_code()
    browser.login("ben@example.com")
    assert code_of(old.approve(first_code)) == "challenge_invalid"
    assert OTPChallenge.objects.open().count() == 1
    assert browser.approve().json()["user"]["email"] == "ben@example.com"


@pytest.mark.control("CS-Session-fixation")
def test_a_made_up_session_cookie_is_not_adopted(browser: Browser) -> None:
    make_user()
    browser.put("access", "made-up")
    browser.put("refresh", "made-up")
    browser.sign_in()
    assert browser.value("access") != "made-up"
    assert is_signed_in(browser)


@pytest.mark.parametrize("header", ["Bearer", "Bearer garbled", "Bearer a b", "Basic YTpi", "Token x"])
def test_an_old_authorization_header_does_not_spoil_a_sign_in(browser: Browser, header: str) -> None:
    """A client that sends its dead token with every request: the code must not be used up for a refusal."""
    make_user()
    assert browser.login(headers={"Authorization": header}).status_code == 202
    assert browser.approve(headers={"Authorization": header}).status_code == 200


def test_an_expired_access_cookie_does_not_spoil_a_sign_in(browser: Browser, clock: Any) -> None:
    """After a change of the mount point the refresh cookie stays at home and the access cookie does not."""
    make_user()
    browser.sign_in()
    browser.drop("refresh")
    clock.forward(minutes=6)
    assert browser.login().status_code == 200
    assert is_signed_in(browser)


@pytest.mark.control("ASVS-7.1.2")
def test_the_limit_of_sessions_ends_the_oldest(configure: Configure) -> None:
    configure(MAX_SESSIONS_PER_USER=2)
    make_user()
    browsers = [Browser() for _ in range(3)]
    for one in browsers:
        one.sign_in()
    assert [is_signed_in(one) for one in browsers] == [False, True, True]
    assert Session.objects.filter(revoked_reason="limit").count() == 1


def test_a_user_deleted_between_the_steps_cannot_finish(browser: Browser) -> None:
    user = make_user()
    browser.login()
    code = last_code()
    user.delete()
    assert code_of(browser.approve(code)) == "challenge_invalid"


CHANGES = [
    {"password": "another long password"},
    {"is_active": False},
    {get_user_model().get_email_field_name(): "new@example.com"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_account_closes_its_challenge(browser: Browser, change: dict[str, Any], clock: Any) -> None:
    user = make_user()
    browser.login()
    change_user(user, **change)
    sent = len(mail.outbox)
    clock.forward(seconds=31)
    assert code_of(browser.approve()) == "challenge_invalid"
    assert code_of(browser.resend()) == "challenge_invalid"
    assert len(mail.outbox) == sent


@pytest.mark.parametrize("change", CHANGES)
def test_a_worker_that_comes_late_mails_no_code_of_a_changed_account(browser: Browser, change: dict[str, Any]) -> None:
    """Least of all to an address that the account has left, since somebody else may read there."""
    user = make_user()
    browser.login()
    mail.outbox.clear()
    OTPChallenge.objects.update(mailed_number=0)
    change_user(user, **change)
    challenge = OTPChallenge.objects.get()
    send_code.apply(args=[str(challenge.pk)]).get()
    challenge.refresh_from_db()
    assert not [one for one in mail.outbox if "code" in str(one.subject)]
    assert challenge.closed_reason == "account_changed"


def test_an_approval_that_fails_on_the_way_leaves_the_devices_as_they_were(
    browser: Browser, configure: Configure, settings: Any
) -> None:
    """A code is used up by then; the browser's trust is not, and a session is opened with it or not at all."""
    settings.CACHES = {**settings.CACHES, "away": {"BACKEND": "tests.stories.caches.AwayCache"}}
    user = make_user()
    browser.sign_in()
    configure(OTP_POLICY="always")
    browser.login()
    device, count = browser.value("device"), TrustedDevice.objects.count()
    configure(OTP_POLICY="always", STATE_CACHE="away")
    response = browser.approve()
    assert response.status_code == 503
    assert code_of(response) == "state_unavailable"
    assert (browser.value("device"), TrustedDevice.objects.count()) == (device, count)
    configure(OTP_POLICY="new_device", STATE_CACHE=None)
    assert browser.login().status_code == 200
    assert Session.objects.for_user(user).alive().count() == 1


@pytest.mark.parametrize("policy", ["never", lambda user, request: False])
def test_without_codes_a_browser_that_signed_in_is_known_and_not_trusted(
    browser: Browser, configure: Configure, policy: Any
) -> None:
    """R9: strangers who use up their budget lock nobody out of a browser that has signed in before."""
    limits = {"login_account": "2/15m"}
    configure(OTP_POLICY=policy, RATE_LIMITS=limits)
    make_user()
    first = browser.login()
    assert first.status_code == 200
    assert set_cookies(first)[cookie("device")]["httponly"]
    assert not TrustedDevice.objects.get().is_approved
    device = browser.value("device")
    browser.logout()
    assert [Browser().login(password="wrong").status_code for _ in range(3)] == [401, 401, 429]
    assert browser.login().status_code == 200
    assert browser.value("device") == device
    assert TrustedDevice.objects.count() == 1
    configure(OTP_POLICY="new_device", RATE_LIMITS=limits)  # codes for new devices again: it has shown none
    assert browser.login().status_code == 202
    assert browser.approve().status_code == 200
    assert TrustedDevice.objects.get().is_approved
    assert browser.login().status_code == 200


def test_the_mail_is_written_in_the_language_of_the_request(browser: Browser) -> None:
    """Whatever language the worker speaks."""
    make_user()
    with translation.override("fr"):
        browser.login(headers={"Accept-Language": "fr"})
    challenge = OTPChallenge.objects.get()
    with translation.override("de"):
        assert challenge.language == "fr"
        OTPChallenge.objects.update(mailed_number=0)
        send_code.apply(args=[str(challenge.pk)]).get()
    assert '<html lang="fr">' in mail.outbox[-1].alternatives[0][0]


def test_a_retired_key_closes_the_challenge_for_good(browser: Browser, settings: Any) -> None:
    make_user()
    browser.login()
    code = last_code()
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-for-everybody-here"
    browser.token = ""
    assert code_of(browser.approve(code)) == "challenge_invalid"
    settings.SECRET_KEY_FALLBACKS = []


def test_a_rotated_key_signs_nobody_out(browser: Browser, settings: Any) -> None:
    make_user()
    browser.sign_in()
    second = Browser()
    second.login()
    code = last_code()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-for-everybody-here"
    assert is_signed_in(browser)
    assert browser.refresh().status_code == 200
    assert second.approve(code).status_code == 200
    browser.logout()
    assert browser.login().status_code == 200  # the device is still trusted


def test_the_password_does_not_stay_between_the_steps(browser: Browser) -> None:
    """R41: between password and code there is a challenge, and nothing of the password."""
    make_user()
    browser.login()
    challenge = OTPChallenge.objects.get()
    text = repr({field.attname: getattr(challenge, field.attname) for field in challenge._meta.concrete_fields})
    assert PASSWORD not in text
    assert browser.value("challenge") not in text
    assert "sessionid" not in browser.client.cookies


def test_wrong_codes_say_how_many_tries_are_left(browser: Browser) -> None:
    make_user()
    browser.login()
    left = [browser.approve(wrong_code()).json()["attempts_left"] for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    assert named("authn_otp_fail_max")


@pytest.mark.control("NIST-63B-5.1-g")
def test_a_trusted_device_opens_nothing_by_itself_and_is_told_as_no_code(browser: Browser) -> None:
    trust(browser, make_user())
    assert browser.has("device")
    assert code_of(browser.me()) == "not_authenticated"
    assert browser.refresh().status_code == 401
    assert code_of(browser.login(password="wrong")) == "invalid_credentials"
    assert code_of(browser.approve("123456")) == "challenge_invalid"
    assert browser.login().json()["session"]["amr"] == ["pwd"]


PROTECTED = [
    ("GET", "me", None),
    ("PATCH", "me", {"first_name": "Eve"}),
    ("GET", "session-list", None),
    ("DELETE", "session-list", None),
    ("GET", "activity", None),
    ("GET", "apikey-list", None),
    ("POST", "apikey-list", {"name": "ci"}),
    ("POST", "reauthenticate", {"password": PASSWORD}),
    ("POST", "password-change", {"current_password": PASSWORD, "new_password": "another long pass phrase"}),
    ("POST", "email-change", {"new_email": "eve@example.com"}),
]


@pytest.mark.control("WSTG-SESS-08")
@pytest.mark.parametrize("flow", ["sign-in", "registration", "admin", "reset"])
def test_what_is_half_finished_opens_nothing(browser: Browser, configure: Configure, flow: str) -> None:
    configure(BASE_URL="https://app.example")
    make_user()
    root = make_staff()
    if flow == "sign-in":
        assert browser.login().status_code == 202
    elif flow == "registration":
        body = {"email": "new@example.com", "password": PASSWORD}
        assert browser.post("register", body).status_code == 202
    elif flow == "admin":
        browser.form(reverse("admin:login"), {"username": root.get_username(), "password": PASSWORD})
    else:
        assert browser.post("password-reset", {"email": "ana@example.com"}).status_code == 202
        found = re.search(r"#uid=([^&\s]+)&token=(\S+)", str(mail.outbox[-1].body))
        assert found is not None
        for name in ("email-undo", "not-me"):  # a link is for one purpose
            assert code_of(browser.post(name, {"uid": found[1], "token": found[2]})) == "reset_invalid"
    assert browser.has("challenge") is (flow != "reset")
    for method, name, sent in PROTECTED:
        assert code_of(browser.request(method, url(name), sent)) == "not_authenticated", name
    assert browser.refresh().status_code == 401
    assert browser.page(reverse("admin:index")).status_code == 302
    assert not Session.objects.exists()
