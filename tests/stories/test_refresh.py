"""Refresh: one successor a generation, a grace for lost answers and second tabs, and the end of a stolen session."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.db.models import F

from django_secure_auth.conf import secret_ring
from django_secure_auth.kit.opaque import derive_refresh_token
from django_secure_auth.sessions.models import Session
from django_secure_auth.tokens.cookies import mount_point
from tests.browser import Browser, change_user, cleared, code_of, cookie, is_signed_in, make_user, named, session_of

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    mail.outbox.clear()
    return browser


def token_of(session: Session, generation: int) -> str:
    return derive_refresh_token(session.pk, generation, bytes.fromhex(session.salt), secret_ring("refresh"))


@pytest.mark.control("ASVS-10.4.5", "RFC9700-2.2.2")
def test_a_refresh_hands_out_a_new_pair(signed_in: Browser) -> None:
    """R1: each generation has one successor."""
    access, refresh = signed_in.value("access"), signed_in.value("refresh")
    response = signed_in.refresh()
    assert response.status_code == 200
    assert response.json()["status"] == "authenticated"
    assert signed_in.value("access") != access
    assert signed_in.value("refresh") != refresh
    assert session_of(response).generation == 2
    assert is_signed_in(signed_in)
    assert Session.objects.count() == 1


@pytest.mark.parametrize("body", [None, {}, ""])
def test_a_refresh_takes_nothing_or_an_empty_object(signed_in: Browser, body: Any) -> None:
    response = signed_in.refresh() if body is None else signed_in.refresh(body=body)
    assert response.status_code == 200


def test_without_a_cookie_it_is_401(browser: Browser) -> None:
    response = browser.refresh()
    assert response.status_code == 401
    assert code_of(response) == "not_authenticated"


def test_two_tabs_get_the_same_successor(signed_in: Browser) -> None:
    """R2, R3, R47: inside the grace both tabs hold the one living token, and nobody is signed out."""
    tab = signed_in.copy("access", "refresh")
    first = signed_in.refresh()
    second = tab.refresh()
    assert first.status_code == second.status_code == 200
    assert signed_in.value("refresh") == tab.value("refresh")
    assert session_of(second).generation == 2
    assert is_signed_in(signed_in)
    assert is_signed_in(tab)
    assert tab.refresh().status_code == 200
    assert signed_in.refresh().status_code == 200
    assert not named("authn_token_reuse")


def test_a_used_successor_still_has_the_grace_of_a_second_tab(signed_in: Browser) -> None:
    """R3: the first tab is fast and uses its new token before the second tab has asked."""
    tab = signed_in.copy("access", "refresh")
    signed_in.refresh()
    assert is_signed_in(signed_in)
    assert tab.refresh().status_code == 200
    assert tab.value("refresh") == signed_in.value("refresh")


def test_a_lost_answer_is_given_again_however_late(signed_in: Browser, clock: Any) -> None:
    """R4: the successor was never used, so nobody has it; the browser whose answer was lost gets it again."""
    lost = signed_in.copy("access", "refresh")
    expected = signed_in.refresh()
    clock.forward(minutes=10)
    again = lost.refresh()
    assert again.status_code == 200
    assert lost.value("refresh") == expected.cookies[cookie("refresh")].value
    assert is_signed_in(lost)


def test_a_hit_does_not_stretch_the_grace(signed_in: Browser, clock: Any) -> None:
    tab = signed_in.copy("access", "refresh")
    signed_in.refresh()
    assert is_signed_in(signed_in)
    for _ in range(3):
        clock.forward(seconds=3)
        assert tab.copy("refresh").refresh().status_code == 200
    clock.forward(seconds=2)
    assert code_of(tab.copy("refresh").refresh()) == "refresh_reused"


@pytest.mark.control("RFC9700-4.14.2-a", "ASVS-10.4.5", "LOGVOC-authn_token_reuse")
def test_a_refresh_token_used_twice_revokes_the_session(signed_in: Browser, clock: Any) -> None:
    """R1, R46: after the grace the predecessor is a copy in somebody's hands; both are signed out, the user is told."""
    thief = signed_in.copy("refresh")
    session = session_of(signed_in.refresh())
    assert is_signed_in(signed_in)
    clock.forward(seconds=11)
    answer = thief.refresh()
    assert answer.status_code == 401
    assert code_of(answer) == "refresh_reused"
    session.refresh_from_db()
    assert session.revoked_reason == "refresh_reused"
    assert code_of(signed_in.me()) == "session_revoked"
    assert code_of(signed_in.refresh()) == "session_revoked"
    (event,) = named("authn_token_reuse")
    assert event.severity == "HIGH"
    assert event.session_id == str(session.pk)
    (message,) = mail.outbox
    assert message.to == ["ana@example.com"]
    assert "was used twice" in message.body
    assert "Firefox on Linux" in message.body


def test_a_used_successor_makes_a_step_behind_theft(signed_in: Browser) -> None:
    """R46: who refreshes a third time with a token two steps behind is a thief, grace or not."""
    thief = signed_in.copy("refresh")
    signed_in.refresh()
    signed_in.refresh()
    assert code_of(thief.refresh()) == "refresh_reused"
    assert not is_signed_in(signed_in)


def test_a_hundred_replays_make_one_event_and_one_mail(signed_in: Browser) -> None:
    thieves = [signed_in.copy("refresh") for _ in range(4)]
    signed_in.refresh()
    signed_in.refresh()
    codes = [code_of(thief.refresh()) for thief in thieves]
    assert codes == ["refresh_reused"] + ["session_revoked"] * 3
    assert len(named("authn_token_reuse")) == 1
    assert len(mail.outbox) == 1


def test_no_grace_means_no_grace_once_it_was_used(signed_in: Browser, configure: Configure) -> None:
    configure(REFRESH_GRACE=timedelta(0))
    tab = signed_in.copy("refresh")
    signed_in.refresh()
    assert tab.copy("refresh").refresh().status_code == 200  # not acknowledged: a lost answer
    assert is_signed_in(signed_in)
    assert code_of(tab.refresh()) == "refresh_reused"


def test_an_access_token_of_the_old_generation_acknowledges_nothing(signed_in: Browser, clock: Any) -> None:
    old = signed_in.copy("access", "refresh")
    session = session_of(signed_in.refresh())
    assert is_signed_in(old)
    session.refresh_from_db()
    assert not session.acked
    clock.forward(minutes=1)
    assert old.refresh().status_code == 200


def _noise(token: str) -> list[str]:
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    broken = bytearray(raw)
    broken[30] ^= 1
    other_version = bytearray(raw[:-4])
    other_version[0] = 2
    huge_generation = bytearray(raw[:-4])
    huge_generation[21:25] = b"\xff\xff\xff\xff"

    def encoded(body: bytearray, *, checksum: bool = True) -> str:
        full = bytes(body) + (zlib.crc32(bytes(body)).to_bytes(4, "big") if checksum else b"")
        return base64.urlsafe_b64encode(full).rstrip(b"=").decode()

    forged = bytearray(raw[:-4])
    forged[-1] ^= 1
    return [
        "", "x", "a.b.c", token[:-1], token + "A", token + "=", token.swapcase(), "é" * 20, "A" * 300,
        encoded(broken, checksum=False), encoded(other_version), encoded(huge_generation), encoded(forged),
    ]  # fmt: skip


def test_garbled_and_forged_tokens_end_nothing(signed_in: Browser) -> None:
    """Noise must not be a way to sign somebody out."""
    session = Session.objects.get()
    good = signed_in.value("refresh")
    for noise in _noise(good):
        attacker = Browser()
        attacker.csrf()
        attacker.put("refresh", noise)
        response = attacker.refresh()
        assert (response.status_code, code_of(response)) == (401, "token_invalid"), noise
    session.refresh_from_db()
    assert session.revoked_at is None
    assert signed_in.refresh().status_code == 200
    assert not mail.outbox


def test_a_token_of_no_session_is_invalid(browser: Browser) -> None:
    browser.csrf()
    browser.put("refresh", derive_refresh_token(uuid4(), 1, bytes(16), secret_ring("refresh")))
    assert code_of(browser.refresh()) == "token_invalid"


def test_a_future_generation_ends_nothing_and_is_told(signed_in: Browser) -> None:
    session = Session.objects.get()
    other = Browser()
    other.csrf()
    other.put("refresh", token_of(session, 7))
    assert code_of(other.refresh()) == "token_invalid"
    (event,) = named("authn_token_future")
    assert event.severity == "HIGH"
    assert event.session_id == str(session.pk)
    assert is_signed_in(signed_in)
    assert signed_in.refresh().status_code == 200


def test_a_refusal_clears_the_cookies(signed_in: Browser) -> None:
    """R55: a browser that keeps a dead token asks for ever."""
    Session.objects.update(revoked_at=F("created_at"))
    response = signed_in.refresh()
    assert response.status_code == 401
    assert {(cookie("access"), "/"), (cookie("refresh"), mount_point())} <= cleared(response)
    assert not signed_in.has("access")
    assert not signed_in.has("refresh")


def _with_cookies(browser: Browser, *refresh: str, name: str = "refresh") -> Any:
    """Refresh with several cookies of one name, as a browser sends them after a change of path or domain."""
    token = browser.csrf()
    pairs = [f"csrftoken={browser.client.cookies['csrftoken'].value}", f"{cookie('access')}={browser.value('access')}"]
    pairs += [f"{cookie('refresh')}={value}" for value in refresh]
    plain = Browser()
    return plain.client.post(
        f"{mount_point()}{name}/",
        secure=True,
        headers={"Cookie": "; ".join(pairs), "X-CSRF-Token": token, "Referer": "https://testserver/"},
    )


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kind", ["noise", "revoked", "idle"])
def test_a_stale_duplicate_does_not_hide_the_living_cookie(signed_in: Browser, kind: str, order: int) -> None:
    """R55: of two refresh cookies the living one counts, wherever it stands, and the others are deleted."""
    living = signed_in.value("refresh")
    other = Browser()
    stale = "noise"
    if kind != "noise":
        opened = session_of(other.sign_in())
        stale = other.value("refresh")
        change = (
            {"revoked_at": opened.created_at} if kind == "revoked" else {"idle_at": opened.created_at - timedelta(1)}
        )
        Session.objects.filter(pk=opened.pk).update(**change)
    pair = [stale, living] if order == 0 else [living, stale]
    response = _with_cookies(signed_in, *pair)
    assert response.status_code == 200, response.content
    assert Session.objects.get(pk=response.json()["session"]["id"]).generation == 2
    if mount_point() != "/":
        assert (cookie("refresh"), "/") in cleared(response)


# --- a cookie that a sibling sub-domain has planted: `__Secure-` allows a Domain ----------------------


def test_a_planted_refresh_cookie_makes_nobody_the_attacker(signed_in: Browser) -> None:
    """A genuine token of the attacker's own, on a longer path and so the first of the two."""
    eve = Browser()
    make_user("eve@example.com")
    theirs = session_of(eve.sign_in("eve@example.com"))
    mine = signed_in.value("refresh")
    response = _with_cookies(signed_in, *[eve.value("refresh")] * 9, mine)
    assert session_of(response).pk != theirs.pk
    theirs.refresh_from_db()
    assert theirs.generation == 1


def test_a_refresh_cookie_of_another_session_than_the_access_cookies_is_not_looked_at(signed_in: Browser) -> None:
    """It could be a neighbour's, and somebody would type their secrets into the neighbour's account."""
    eve = Browser()
    make_user("eve@example.com")
    theirs = session_of(eve.sign_in("eve@example.com"))
    assert _with_cookies(signed_in, eve.value("refresh")).status_code == 401
    theirs.refresh_from_db()
    assert (theirs.generation, theirs.revoked_at) == (1, None)
    assert is_signed_in(signed_in)


@pytest.mark.parametrize("access", ["", "noise", "a.b.c", "a.W10.c", "a.e30.c", "a.eyJzaWQiOjF9.c"])
def test_a_refresh_cookie_alone_refreshes(signed_in: Browser, access: str) -> None:
    other = signed_in.copy("refresh")
    if access:
        other.put("access", access)
    assert other.refresh().status_code == 200


def test_an_access_token_of_a_retired_key_still_says_which_session_it_was(signed_in: Browser) -> None:
    head, claims, _ = signed_in.value("access").split(".")
    signed_in.put("access", f"{head}.{claims}.{'A' * 43}")
    assert signed_in.refresh().status_code == 200


def test_a_planted_refresh_cookie_keeps_no_session_from_its_end(signed_in: Browser) -> None:
    eve = Browser()
    make_user("eve@example.com")
    theirs = session_of(eve.sign_in("eve@example.com"))
    mine = Session.objects.exclude(pk=theirs.pk).get()
    response = _with_cookies(signed_in, eve.value("refresh"), signed_in.value("refresh"), name="logout")
    assert response.status_code == 204
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.revoked_reason, theirs.revoked_at) == ("sign_out", None)


def test_duplicates_without_a_living_one_are_all_cleared(signed_in: Browser) -> None:
    """R55: no endless loop of refreshes."""
    response = _with_cookies(signed_in, "noise", "more noise")
    assert code_of(response) == "token_invalid"
    assert (cookie("refresh"), mount_point()) in cleared(response)
    if mount_point() != "/":
        assert (cookie("refresh"), "/") in cleared(response)
    assert _with_cookies(signed_in, *["noise"] * 50).status_code == 401


def test_a_theft_is_a_theft_among_duplicates_too(signed_in: Browser) -> None:
    stolen = signed_in.value("refresh")
    signed_in.refresh()
    signed_in.refresh()
    assert code_of(_with_cookies(signed_in, stolen, "noise")) == "refresh_reused"


@pytest.mark.parametrize("stale", ["noise", "of an ended session"])
def test_sign_out_with_duplicates_ends_the_session_and_clears_all(signed_in: Browser, stale: str) -> None:
    """R55: duplicates of ours go at sign-out too, and it is the living session that ends."""
    living = Session.objects.get().pk
    if stale != "noise":
        other = Browser()
        other.sign_in()
        stale = other.value("refresh")
        other.logout()
    token = signed_in.csrf()
    pairs = [f"csrftoken={signed_in.client.cookies['csrftoken'].value}", f"{cookie('refresh')}={stale}"]
    pairs.append(f"{cookie('refresh')}={signed_in.value('refresh')}")
    response = Browser().client.post(
        f"{mount_point()}logout/",
        secure=True,
        headers={"Cookie": "; ".join(pairs), "X-CSRF-Token": token, "Referer": "https://testserver/"},
    )
    assert response.status_code == 204
    assert Session.objects.get(pk=living).revoked_reason == "sign_out"
    if mount_point() != "/":
        assert (cookie("refresh"), "/") in cleared(response)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"password": "another long password"}, "session_revoked"), ({"is_active": False}, "session_revoked")],
)
def test_a_changed_account_cannot_refresh(signed_in: Browser, change: dict[str, Any], code: str) -> None:
    """R20: the refresh token dies with the password, and with the account."""
    from_user = Session.objects.get().user
    change_user(from_user, **change)
    assert code_of(signed_in.refresh()) == code


@pytest.mark.control("NIST-63B-5.1.2")
def test_a_refresh_keeps_the_time_of_the_proof(signed_in: Browser, clock: Any) -> None:
    """A refresh is no proof of identity: `auth_time` stays."""
    before = Session.objects.get().auth_time
    clock.forward(minutes=4)
    signed_in.refresh()
    assert Session.objects.get().auth_time == before


def test_a_refresh_follows_the_remembered_lifetimes(browser: Browser, clock: Any) -> None:
    make_user()
    browser.sign_in(remember_me=True)
    for _ in range(2):
        clock.forward(days=13)
        assert browser.refresh().status_code == 200
        assert is_signed_in(browser)  # a person's request moves the idle deadline, a refresh alone does not
    clock.forward(days=5)
    assert code_of(browser.refresh()) == "session_inactive"
