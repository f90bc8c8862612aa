"""Users are told what has been done to their accounts, and can say that it was somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.urls import reverse
from django.utils import translation

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.conf import DEFAULT_NOTICES
from django_secure_auth.links.models import MailedLink
from django_secure_auth.notices.services import tell
from django_secure_auth.notices.tasks import KINDS, send_notice
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.services import grant
from django_secure_auth.sessions.models import Session
from tests.browser import (
    PASSWORD,
    Browser,
    Clock,
    admin_browser,
    change_user,
    code_of,
    make_user,
    named,
    wrong_code,
)
from tests.kit.test_places import LYON, geoip_file

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
ANA = "ana@example.com"
NEW = "another long pass phrase"


@pytest.fixture(autouse=True)
def _base_url(configure: Configure) -> None:
    configure(BASE_URL="https://app.example", NOTICES={})


@pytest.fixture
def ana() -> Any:
    return make_user(ANA)


def notices() -> list[str]:
    """What the notices say, in their order."""
    return [str(one.body).partition("\n")[0] for one in mail.outbox if str(one.subject).startswith("Your account at")]


def link(number: int = -1) -> dict[str, str]:
    found = re.findall(r"/not-me/#uid=([^&\s]+)&token=(\S+)", "".join(str(one.body) for one in mail.outbox))[number]
    return {"uid": found[0], "token": found[1]}


def not_me(**given: str) -> Any:
    return Browser(address="198.51.100.9").post("not-me", given or link())


def test_every_kind_has_its_words_and_its_switch() -> None:
    assert KINDS.keys() == DEFAULT_NOTICES.keys()


# --- what other code does ----------------------------------------------------------------------------


@pytest.mark.control("ASVS-6.3.7")
def test_a_password_that_the_admin_sets_is_told(ana: Any, browser: Browser) -> None:
    browser.sign_in()
    root = admin_browser()
    page = reverse("admin:auth_user_password_change", args=(ana.pk,)) if ana._meta.label == "auth.User" else None
    if page is None:  # the project's user model has no such page here
        change_user(ana, password=NEW)
    else:
        assert root.form(page, {"password1": NEW, "password2": NEW, "usable_password": "true"}).status_code == 302
    assert notices()[-1] == "The password of your account was changed."
    assert mail.outbox[-1].to == [ANA]
    changed = named("authn_password_change")[-1]
    assert (changed.user_id, changed.actor_id, changed.details["how"]) == (str(ana.pk), "", "elsewhere")
    assert Session.objects.get(user=ana).revoked_reason == "password_changed"
    assert not_me().status_code == 204


@pytest.mark.control("ASVS-6.3.7")
def test_an_address_that_other_code_sets_is_told_at_both(ana: Any) -> None:
    change_user(ana, **{ana.get_email_field_name(): "ben@example.com"})
    assert [(one.to, said) for one, said in zip(mail.outbox, notices(), strict=True)] == [
        ([ANA], "The address of your account was changed: this one is no longer it."),
        (["ben@example.com"], "The address of your account was changed to this one."),
    ]
    assert named("user_updated")[-1].details["how"] == "elsewhere"


def test_both_at_once_are_told_at_the_address_of_before(ana: Any) -> None:
    change_user(ana, password=NEW, **{ana.get_email_field_name(): "ben@example.com"})
    assert [one.to for one in mail.outbox] == [[ANA], [ANA], ["ben@example.com"]]


def test_what_changes_neither_is_not_told(ana: Any, settings: Any) -> None:
    change_user(ana)
    change_user(ana, is_active=True, **{ana.get_email_field_name(): ANA.upper()})
    fresh = get_user_model()._default_manager.get(pk=ana.pk)
    fresh.set_password(NEW)
    fresh.save(update_fields=["is_active"])  # which stores no password
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    assert get_user_model()._default_manager.get(pk=ana.pk).check_password(PASSWORD), "hashed anew, and the same"
    make_user("new@example.com")
    assert not mail.outbox


def test_a_fixture_that_is_loaded_tells_nobody(ana: Any, tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    call_command("dumpdata", get_user_model()._meta.label, output=str(file))
    change_user(ana, password=NEW)
    mail.outbox.clear()
    call_command("loaddata", str(file), verbosity=0)
    assert get_user_model()._default_manager.get(pk=ana.pk).check_password(PASSWORD)
    assert not mail.outbox


def test_a_user_who_is_deleted_meanwhile_is_saved_as_ever(ana: Any) -> None:
    fresh = get_user_model()._default_manager.get(pk=ana.pk)
    get_user_model()._default_manager.filter(pk=ana.pk).delete()
    fresh.save()  # Django inserts it anew
    assert not mail.outbox


def test_a_role_that_the_admin_grants_is_told(ana: Any) -> None:
    role = Role.objects.create(name="editor")
    root = admin_browser()
    given = {"user": str(ana.pk), "role": str(role.pk), "content_type": "", "object_id": ""}
    until = {"expires_at_0": "", "expires_at_1": ""}
    assert root.form(reverse("admin:django_secure_auth_roleassignment_add"), {**given, **until}).status_code == 302
    assert notices()[-1] == "You were given the role “editor”."


# --- where it was ------------------------------------------------------------------------------------


def test_a_mail_and_the_lists_name_the_place(browser: Browser, ana: Any, configure: Configure, tmp_path: Path) -> None:
    configure(BASE_URL="https://app.example", GEOIP_FILE=geoip_file(tmp_path, {"192.0.2.0/24": LYON}))
    browser.login()
    for part in (str(mail.outbox[-1].body), str(mail.outbox[-1].alternatives[0][0])):
        assert "Place: Lyon, France (192.0.2.1)" in part
    browser.approve()
    for name in ("session-list", "device-list", "activity"):
        assert {row["place"] for row in browser.get(name).json()["results"]} == {"Lyon, France"}, name
    with translation.override("de"):
        tell("api_key_created", ana, request=browser.get("me").wsgi_request, name="<b>")
    assert "Lyon, Frankreich (192.0.2.1)" in str(mail.outbox[-1].body)


def test_a_geoip_file_that_is_not_there_stops_nothing(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(BASE_URL="https://app.example", GEOIP_FILE="/nowhere/city.mmdb")
    browser.sign_in()
    assert "Place: 192.0.2.1\n" in str(mail.outbox[-1].body)
    assert browser.get("session-list").json()["results"][0]["place"] is None


# --- what our endpoints do ---------------------------------------------------------------------------


def test_a_new_device_is_told_and_a_known_one_is_not(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(OTP_POLICY="never")
    browser.sign_in()
    (said,) = notices()
    assert said == "Somebody has signed in to your account on a device that was not known before."
    message = mail.outbox[-1]
    assert message.to == [ANA]
    for part in (str(message.body), str(message.alternatives[0][0])):
        assert "Firefox on Linux" in part
        assert "192.0.2.1" in part
        assert "https://app.example/not-me/#uid=" in part
    browser.logout()
    browser.sign_in()
    assert len(notices()) == 1


def test_a_device_with_a_code_was_told_by_the_mail_of_the_code(browser: Browser, ana: Any) -> None:
    browser.sign_in()
    assert notices() == []
    assert "Firefox on Linux" in str(mail.outbox[-1].body)


@pytest.mark.control("NIST-63B-4.2.3")
def test_a_change_and_a_reset_of_the_password_are_told(browser: Browser, ana: Any) -> None:
    browser.sign_in()
    browser.post("password-change", {"current_password": PASSWORD, "new_password": "another long pass phrase"})
    assert notices()[-1] == "The password of your account was changed."
    browser.post("password-reset", {"email": ANA})
    found = re.search(r"/reset-password/#uid=([^&\s]+)&token=(\S+)", str(mail.outbox[-1].body))
    assert found is not None
    body = {"uid": found[1], "token": found[2], "new_password": "a third long pass phrase"}
    assert browser.post("password-reset-confirm", body).status_code == 204
    assert notices()[-1].startswith("The password of your account was reset")


def test_keys_roles_and_guessed_codes_are_told(browser: Browser, ana: Any) -> None:
    create_key(ana, name="<b>backup</b>")
    assert notices()[-1].startswith("The API key “<b>backup</b>” was made")
    assert "&lt;b&gt;backup" in str(mail.outbox[-1].alternatives[0][0])
    Role.objects.create(name="editor")
    grant(ana, "editor")
    grant(ana, "editor")
    assert notices()[1:] == ["You were given the role “editor”."]
    browser.login()
    for _ in range(5):
        browser.approve(wrong_code())
    assert notices()[-1].startswith("Somebody knows your password")


def test_a_kind_can_be_switched_off(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(NOTICES={"new_device": False}, OTP_POLICY="never")
    browser.sign_in()
    assert notices() == []
    assert not MailedLink.objects.exists()


@pytest.mark.control("NIST-63B-4.3")
def test_who_says_not_me_closes_the_account_off_until_a_reset(browser: Browser, ana: Any) -> None:
    browser.sign_in()
    tell("password_changed", ana)
    assert not_me().status_code == 204
    assert code_of(browser.me()) == "session_revoked"
    assert not TrustedDevice.objects.alive().exists()
    assert code_of(browser.login()) == "invalid_credentials"
    (event,) = named("authn_not_me")
    assert event.severity == "HIGH"
    assert event.details["told_of"] == "password_changed"
    assert code_of(not_me()) == "reset_invalid"
    browser.post("password-reset", {"email": ANA})
    assert "/reset-password/" in str(mail.outbox[-1].body)


def test_the_other_links_are_dead_then_the_thiefs_reset_too(browser: Browser, ana: Any) -> None:
    browser.sign_in()
    tell("password_changed", ana)
    browser.post("password-reset", {"email": ANA})
    found = re.search(r"/reset-password/#uid=([^&\s]+)&token=(\S+)", str(mail.outbox[-1].body))
    assert found is not None
    tell("password_changed", ana)
    first, second = link(0), link(1)
    assert not_me(**first).status_code == 204
    assert code_of(not_me(**second)) == "reset_invalid"
    body = {"uid": found[1], "token": found[2], "new_password": "another long pass phrase"}
    assert code_of(browser.post("password-reset-confirm", body)) == "reset_invalid"


def test_it_works_three_days_long_whatever_has_changed(browser: Browser, ana: Any, clock: Clock) -> None:
    browser.sign_in()
    tell("password_changed", ana)
    given = link()
    browser.post("password-change", {"current_password": PASSWORD, "new_password": "another long pass phrase"})
    clock.forward(hours=73)
    assert code_of(not_me(**given)) == "reset_invalid"
    clock.forward(hours=-2)
    assert not_me(**given).status_code == 204


def test_without_a_base_url_the_notice_has_no_link(browser: Browser, ana: Any, configure: Configure) -> None:
    configure(BASE_URL=None)
    tell("password_changed", ana)
    assert "reset your password at once" in str(mail.outbox[-1].body)
    assert "://" not in str(mail.outbox[-1].body)


def test_a_broker_that_is_away_stops_nobody(
    browser: Browser, ana: Any, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("the broker is away")

    browser.sign_in()
    configure(MAIL_DELIVERY="celery")
    monkeypatch.setattr(send_notice, "apply_async", refuse)
    body = {"current_password": PASSWORD, "new_password": "another long pass phrase"}
    assert browser.post("password-change", body).status_code == 204
    assert notices() == []
    assert MailedLink.objects.get().closed_reason == "undelivered"
    assert named("authn_link_undelivered")


def test_a_notice_is_mailed_once(ana: Any) -> None:
    tell("password_changed", ana)
    send_notice(str(MailedLink.objects.get().pk))
    assert len(notices()) == 1


def test_of_two_who_use_one_link_one_comes_through(browser: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.sign_in()
    tell("password_changed", ana)
    monkeypatch.setattr("django_secure_auth.links.services.use", lambda link: False)
    assert code_of(not_me()) == "reset_invalid"
    assert browser.me().status_code == 200


def test_who_has_no_address_is_told_nothing(ana: Any) -> None:
    setattr(ana, ana.get_email_field_name(), "")
    tell("password_changed", ana)
    assert not MailedLink.objects.exists()


def test_who_says_not_me_ends_the_key_that_the_notice_told_of(ana: Any) -> None:
    create_key(ana, name="thief")
    assert not_me().status_code == 204
    assert not APIKey.objects.alive().exists()
    assert named("authn_api_key_revoked")[0].details["reason"] == "not_me"
