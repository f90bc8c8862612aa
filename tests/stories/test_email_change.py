"""`email/change/` and `email/undo/`: an address holds when it is proven, and its predecessor can take it back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import transaction

from django_secure_auth.links import services as links
from django_secure_auth.links.models import MailedLink
from django_secure_auth.mail import address_of
from django_secure_auth.otp import services as otp
from django_secure_auth.passwords.services import scramble_password
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all
from tests.browser import PASSWORD, Browser, Clock, code_of, is_signed_in, last_code, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
OLD, NEW = "ana@example.com", "ana@new.example"


@pytest.fixture(autouse=True)
def _base_url(configure: Configure) -> None:
    configure(BASE_URL="https://app.example")


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user(OLD)
    browser.sign_in()
    return browser


def ask(browser: Browser, email: str = NEW) -> Any:
    return browser.post("email-change", {"new_email": email})


def change(browser: Browser, email: str = NEW) -> Any:
    assert ask(browser, email).status_code == 202
    return browser.approve(_code_to(email))


def _code_to(email: str) -> str:
    (message,) = [message for message in mail.outbox if message.to == [email]][-1:]
    return re.findall(r"\b\d{6}\b", str(message.body))[0]


def test_who_is_thrown_out_meanwhile_takes_no_address_along(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a link for another password would go to whoever the owner has just thrown out."""
    ask(signed_in)
    verifying = otp.verify

    def thrown_out_after(challenge: Any, *args: Any, **options: Any) -> None:
        verifying(challenge, *args, **options)
        with transaction.atomic():
            scramble_password(challenge.user)
            end_all(challenge.user, reason="not_me")

    monkeypatch.setattr(otp, "verify", thrown_out_after)
    assert code_of(signed_in.approve(_code_to(NEW))) == "session_revoked"
    assert address() == OLD
    assert named("email_changed") == []
    assert not MailedLink.objects.exists()


def test_who_is_deleted_meanwhile_has_no_address(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(signed_in)
    verifying = otp.verify

    def deleted_after(challenge: Any, *args: Any, **options: Any) -> None:
        verifying(challenge, *args, **options)
        get_user_model()._base_manager.filter(pk=challenge.user_id).delete()

    monkeypatch.setattr(otp, "verify", deleted_after)
    assert code_of(signed_in.approve(_code_to(NEW))) == "session_revoked"


def undo_link(number: int = -1) -> dict[str, str]:
    bodies = [str(message.body) for message in mail.outbox]
    found = [match for body in bodies for match in re.findall(r"/undo-email/#uid=([^&\s]+)&token=(\S+)", body)][number]
    return {"uid": found[0], "token": found[1]}


def undo(browser: Browser, **given: str) -> Any:
    return browser.post("email-undo", given or undo_link())


def address() -> str:
    return address_of(get_user_model()._default_manager.get())


@pytest.mark.control("CS-Email-change")
def test_it_takes_effect_when_it_is_proven_and_the_old_address_is_told(signed_in: Browser) -> None:
    asked = ask(signed_in)
    assert asked.status_code == 202
    assert asked.json()["challenge"]["purpose"] == "email_change"
    assert mail.outbox[-1].to == [NEW]
    assert address() == OLD
    answer = signed_in.approve()
    assert answer.status_code == 200
    assert answer.json()["user"]["email"] == NEW
    assert address() == NEW
    assert is_signed_in(signed_in)
    assert not signed_in.has("challenge")
    assert mail.outbox[-1].to == [OLD]
    assert code_of(Browser().login(OLD)) == "invalid_credentials"
    assert Browser().login(NEW).status_code == 202
    assert named("user_updated")


def test_it_asks_for_a_recent_proof(signed_in: Browser, clock: Clock) -> None:
    clock.forward(minutes=6)
    signed_in.refresh()
    assert code_of(ask(signed_in)) == "step_up_required"
    assert code_of(ask(Browser())) == "not_authenticated"


def test_an_address_of_somebody_else_is_answered_alike_and_gets_no_code(signed_in: Browser) -> None:
    make_user(NEW)
    asked = ask(signed_in)
    assert asked.status_code == 202
    assert mail.outbox[-1].to == [NEW]
    assert not re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
    assert "already" in str(mail.outbox[-1].body)


def test_of_two_users_who_want_one_address_one_gets_it(signed_in: Browser) -> None:
    make_user("ben@example.com")
    ben = Browser(address="198.51.100.7")
    ben.sign_in("ben@example.com")
    ask(signed_in)
    code = last_code()
    assert change(ben).status_code == 200
    assert code_of(signed_in.approve(code)) == "challenge_invalid"
    model: Any = get_user_model()
    assert sorted(address_of(user) for user in model._default_manager.all()) == sorted([OLD, NEW])


@pytest.mark.parametrize("email", [OLD, " ANA@EXAMPLE.com"])
def test_the_present_address_is_no_other(signed_in: Browser, email: str) -> None:
    assert ask(signed_in, email).status_code in {400, 422}


def test_a_project_may_refuse_addresses(signed_in: Browser, configure: Configure) -> None:
    configure(ADDRESS_POLICY=lambda address: None if address.endswith("@example.com") else "Not one of us.")
    assert code_of(ask(signed_in)) == "policy_rejected"


def test_the_code_is_good_in_the_session_that_asked_for_it(signed_in: Browser) -> None:
    ask(signed_in)
    other = Browser()
    other.sign_in()
    other.put("challenge", signed_in.value("challenge"))
    assert code_of(other.approve(_code_to(NEW))) == "challenge_invalid"
    assert signed_in.approve(_code_to(NEW)).status_code == 200


def test_what_was_mailed_to_the_old_address_is_dead(signed_in: Browser) -> None:
    Browser().post("password-reset", {"email": OLD})
    found = re.search(r"#uid=([^&\s]+)&token=(\S+)", str(mail.outbox[-1].body))
    assert found is not None
    half = Browser(address="198.51.100.7")
    half.login()
    code = last_code()
    change(signed_in)
    body = {"uid": found[1], "token": found[2], "new_password": "another long pass phrase"}
    assert code_of(Browser().post("password-reset-confirm", body)) == "reset_invalid"
    assert code_of(half.approve(code)) == "challenge_invalid"


def test_the_owner_takes_the_account_back(signed_in: Browser) -> None:
    thief = signed_in
    change(thief)
    owner = Browser(address="198.51.100.7")
    assert undo(owner).status_code == 204
    assert address() == OLD
    assert code_of(thief.me()) == "session_revoked"
    assert code_of(thief.login(OLD)) == "invalid_credentials"  # the password that the thief knows is none any more
    assert {session.revoked_reason for session in Session.objects.all()} == {"email_change_undone"}
    assert code_of(undo(owner)) == "reset_invalid"
    owner.post("password-reset", {"email": OLD})
    assert mail.outbox[-1].to == [OLD]
    assert named("authn_email_change_undone")


def test_later_changes_are_undone_with_it_and_their_links_are_dead(signed_in: Browser) -> None:
    change(signed_in, "first@evil.example")
    change(signed_in, "second@evil.example")
    owners, thiefs = undo_link(0), undo_link(1)
    assert undo(Browser(), **owners).status_code == 204
    assert address() == OLD
    assert code_of(undo(Browser(), **thiefs)) == "reset_invalid"
    assert address() == OLD


def test_an_earlier_link_wins_over_a_later_one(signed_in: Browser) -> None:
    change(signed_in, "first@evil.example")
    change(signed_in, "second@evil.example")
    owners, thiefs = undo_link(0), undo_link(1)
    assert undo(Browser(), **thiefs).status_code == 204
    assert undo(Browser(), **owners).status_code == 204
    assert address() == OLD


def test_it_outlives_a_change_of_the_password_and_ends_after_three_days(signed_in: Browser, clock: Clock) -> None:
    change(signed_in)
    body = {"current_password": PASSWORD, "new_password": "the thief's pass phrase"}
    assert signed_in.post("password-change", body).status_code == 204
    clock.forward(hours=71)
    given = undo_link()
    late = Browser()
    clock.forward(hours=2)
    assert code_of(undo(late, **given)) == "reset_invalid"
    clock.forward(hours=-2)
    assert undo(late, **given).status_code == 204


def test_an_address_that_is_somebodys_by_now_is_not_taken_from_them(signed_in: Browser) -> None:
    change(signed_in)
    make_user(OLD)
    assert code_of(undo(Browser())) == "reset_invalid"
    assert MailedLink.objects.open().exists()


def test_of_two_undoings_one_comes_through(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    change(signed_in)
    given = undo_link()
    monkeypatch.setattr(links, "use", lambda link: False)
    assert code_of(undo(Browser(), **given)) == "reset_invalid"
    assert address() == NEW


def test_noise_is_refused(browser: Browser) -> None:
    assert code_of(undo(browser, uid="x", token="y")) == "reset_invalid"  # no token at all
    assert named("authn_link_fail")


def test_without_a_base_url_there_is_no_change_that_cannot_be_undone(signed_in: Browser, configure: Configure) -> None:
    configure(BASE_URL=None)
    assert code_of(ask(signed_in)) == "delivery_unavailable"


def test_a_strangers_mailbox_is_not_flooded_by_many_accounts() -> None:
    answers = []
    for number in range(2):
        make_user(f"u{number}@example.com")
        one = Browser()
        one.sign_in(f"u{number}@example.com")
        answers += [ask(one, "victim@example.com").status_code for _ in range(7)]
    assert answers == [202] * 10 + [429] * 4


def test_a_change_is_told_at_the_new_address_too(signed_in: Browser) -> None:
    change(signed_in)
    (told,) = [letter for letter in mail.outbox if letter.to == [NEW] and "changed to this one" in str(letter.body)]
    assert "/not-me/#uid=" in str(told.body)
