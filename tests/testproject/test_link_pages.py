"""The pages that mailed links lead to: what they answer, and what a person does there, in Chromium."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Browser, Request, expect

from django_secure_auth import exceptions
from django_secure_auth.conf import Conf
from tests.testproject.server import PASSWORD, ROOT, Demo
from tests.testproject.visitor import Visitor

NEW = "another long pass phrase"
PAGES = {
    Conf.PASSWORD_RESET_PATH.default: "/api/auth/password/reset/confirm/",
    Conf.NOT_ME_PATH.default: "/api/auth/not-me/",
    Conf.EMAIL_UNDO_PATH.default: "/api/auth/email/undo/",
}
GIVEN = "#uid=5e6fb6ec-5a75-4a55-9d0a-0f8fd9a0c1c1&token=" + "A" * 43
_WIRE = (ROOT / "testproject/templates/testproject/wire.js").read_text()
OWN_WORDS = dict(re.findall(r'(?m)^  ([a-z_]+): "(.+)",$', _WIRE.partition("const WORDS")[2].partition("};")[0]))
PROBLEMS = {
    one.code: one
    for one in vars(exceptions).values()
    if isinstance(one, type) and issubclass(one, exceptions.SecureAuthError)
}


# --- without a browser -------------------------------------------------------------------------------


@pytest.fixture
def pages(settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [ROOT / "testproject/templates"]}]
    settings.CODES_IN_CONSOLE = True


@pytest.mark.urls("testproject.urls")
@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("link", PAGES)
def test_the_page_of_a_link_is_stored_nowhere_says_no_referrer_and_runs_by_its_nonce(link: str) -> None:
    response = Client().get(urlsplit(link).path)
    html = response.content.decode()
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    policy = response["Content-Security-Policy"]
    match = re.search(r"script-src 'nonce-([^']+)' 'strict-dynamic'", policy)
    assert match is not None
    assert "require-trusted-types-for 'script'" in policy
    assert html.count(f'nonce="{match.group(1)}"') == 2 == html.count("nonce=")
    assert not re.search(r"<[^>]+\son[a-z]+=|<[^>]+\sstyle=|javascript:|innerHTML|insertAdjacentHTML|eval\(", html)


@pytest.mark.urls("testproject.urls")
@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("link", PAGES)
def test_the_page_of_a_link_takes_nothing_by_itself(link: str) -> None:
    assert Client().post(urlsplit(link).path).status_code == 405


def test_the_words_of_the_pages_are_of_codes_that_exist() -> None:
    assert OWN_WORDS
    assert OWN_WORDS.keys() <= PROBLEMS.keys()


# --- by clicking -------------------------------------------------------------------------------------


def asked_for_link(browser: Browser, demo: Demo, email: str) -> Visitor:
    visitor = Visitor(browser, demo)
    visitor.open()
    visitor.click("Forgotten?")
    visitor.page.get_by_label("Address of the account").fill(email)
    visitor.click("Send the link")
    visitor.is_told("If the address has an account, a link is on its way.")
    return visitor


def registered(browser: Browser, demo: Demo, email: str) -> Visitor:
    visitor = Visitor(browser, demo)
    visitor.open()
    visitor.click("Open an account")
    expect(visitor.page.get_by_label("Your e-mail address")).to_be_focused()
    visitor.page.get_by_label("Your e-mail address").fill(email)
    visitor.page.get_by_label("Choose a password").fill("password")
    visitor.click("Send the code")
    visitor.is_told("Choose another password.")
    expect(visitor.page.get_by_label("Choose a password")).to_be_focused()
    visitor.page.get_by_label("Choose a password").fill(PASSWORD)
    before = len(demo.codes())
    visitor.click("Send the code")
    visitor.sees_heading("Enter the code")
    visitor.enter_code(demo.code(after=before))
    visitor.sees_response("POST /api/auth/register/verify/ → 200 authenticated")
    visitor.sees_heading("Signed in")
    visitor.is_told("The address is proven and the account open.")
    return visitor


def part(visitor: Visitor, heading: str) -> None:
    visitor.page.get_by_role("heading", name=heading, exact=True).click()


@pytest.mark.services
def test_a_forgotten_password_is_chosen_anew_by_the_mailed_link(browser: Browser, demo: Demo) -> None:
    registered(browser, demo, "reset@example.com").has_no_complaints()
    ana = asked_for_link(browser, demo, "reset@example.com")
    link = demo.link("/reset-password/", to="reset@example.com")
    assert link.startswith(f"{demo.url}/")  # the port that it is served on
    token = link.rpartition("=")[2]
    sent: list[Request] = []
    ana.page.on("request", lambda request: sent.append(request))  # noqa: PLW0108  # Playwright marks what it is given
    ana.page.goto(link)
    ana.sees_heading("Choose a new password")
    assert ana.page.url == f"{demo.url}/reset-password/"
    assert token not in str(ana.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    assert [request.method for request in sent if "/api/" in request.url] == []  # opening it changes nothing
    ana.page.get_by_label("New password", exact=True).fill("password")
    ana.click("Set the password")
    ana.is_told("Choose another password.")
    expect(ana.page.get_by_label("New password", exact=True)).to_be_focused()
    ana.page.get_by_label("New password", exact=True).fill(NEW)
    ana.page.keyboard.press("Enter")
    ana.sees_heading("The password is set")
    expect(ana.page.get_by_role("heading", name="The password is set")).to_be_focused()
    posts = [request for request in sent if request.method == "POST"]
    assert {request.all_headers().get("origin") for request in posts} == {demo.url}
    assert not any(request.all_headers().get("referer") for request in sent if "/api/" in request.url)
    assert not any(token in request.url for request in sent if "#" not in request.url)
    assert token not in ana.page.content()
    assert token not in demo.log.read_text()

    ana.page.goto(link)  # the same document: only what stands behind the # has changed
    ana.sees_heading("Choose a new password")
    ana.page.get_by_label("New password", exact=True).fill(NEW + "!")
    ana.click("Set the password")
    ana.is_told("This link is not valid any more: it was used")
    ana.page.reload()
    ana.sees_heading("Open the link in the mail")

    ana.page.get_by_role("link", name="Sign in").click()
    before = len(demo.codes())
    ana.sign_in("reset@example.com", NEW)
    ana.sees_heading("Enter the code")
    ana.enter_code(demo.code(after=before))
    ana.sees_heading("Signed in")
    ana.has_no_complaints()


@pytest.mark.services
def test_this_was_not_me_closes_the_account_off(browser: Browser, demo: Demo) -> None:
    ana = registered(browser, demo, "not-me@example.com")
    part(ana, "Change the password")
    ana.page.get_by_label("Current password").fill("not the password")
    ana.page.get_by_label("New password", exact=True).fill(NEW)
    ana.click("Change the password")
    ana.is_told("The password is not right.")
    expect(ana.page.get_by_label("Current password")).to_be_focused()
    ana.page.get_by_label("Current password").fill(PASSWORD)
    ana.click("Change the password")
    ana.is_told("The password is changed.")

    owner = Visitor(browser, demo)
    owner.page.goto(demo.link("/not-me/", to="not-me@example.com"))
    owner.sees_heading("Was that somebody else?")
    assert owner.page.url == f"{demo.url}/not-me/"
    expect(owner.page.get_by_role("heading", name="Was that somebody else?")).to_be_focused()
    owner.page.keyboard.press("Tab")
    owner.page.keyboard.press("Enter")
    owner.sees_heading("The account is closed off")
    ana.click("Who am I?")
    ana.is_told("The session has ended; sign in again.")
    owner.page.get_by_role("link", name="Choose another one").click()
    owner.sees_heading("Choose another password")
    for visitor in (ana, owner):
        visitor.has_no_complaints()


@pytest.mark.services
def test_a_changed_address_is_taken_back_by_the_mailed_link(browser: Browser, demo: Demo) -> None:
    ana = registered(browser, demo, "undo@example.com")
    part(ana, "Change the e-mail address")
    ana.page.get_by_label("New e-mail address").fill("changed@example.com")
    ana.click("Change the address")
    ana.sees_heading("Enter the code")
    ana.page.reload()  # the step survives it
    ana.sees_heading("Enter the code")
    ana.click("Start again")
    ana.is_told("Your address stays as it is.")
    ana.sees_heading("Signed in")

    part(ana, "Change the e-mail address")
    expect(ana.page.get_by_label("New e-mail address")).to_be_visible()
    ana.page.get_by_label("New e-mail address").fill("changed@example.com")
    before = len(demo.codes())
    ana.click("Change the address")
    ana.sees_heading("Enter the code")
    ana.enter_code(demo.code(after=before))
    ana.is_told("The new address holds.")
    expect(ana.page.locator("#who")).to_have_text("changed@example.com")

    owner = Visitor(browser, demo)
    owner.page.goto(demo.link("/undo-email/", to="undo@example.com"))
    owner.sees_heading("Take the account back?")
    owner.click("Undo the change")
    owner.sees_heading("The old address is back")
    ana.click("Who am I?")
    ana.sees_heading("Sign in")
    for visitor in (ana, owner):
        visitor.has_no_complaints()


@pytest.mark.services
def test_every_refusal_is_told_in_words(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    for link, api in PAGES.items():
        ana.page.goto(f"{urlsplit(link).path}{GIVEN}")
        for code, problem in PROBLEMS.items():
            if code == "token_expired":  # no end of anything: refreshed, and the request repeated
                continue
            body = json.dumps({"code": code, "detail": str(problem.default_detail), "status": problem.status_code})
            answer: dict[str, Any] = {"status": problem.status_code, "content_type": "application/problem+json"}
            ana.page.route(f"**{api}", lambda route, *, a=answer, b=body: route.fulfill(**a, body=b))
            ana.page.evaluate("say('')")
            if "reset" in api:
                ana.page.get_by_label("New password", exact=True).fill(NEW)
            ana.page.locator("#ask-form [type=submit]").click()
            ana.is_told(OWN_WORDS.get(code) or str(problem.default_detail))
            expect(ana.page.locator("#status")).to_have_class("status bad")
            ana.page.unroute(f"**{api}")
    assert [said for said in ana.complaints if "status of 5" not in said] == []


@pytest.mark.services
def test_a_link_of_another_page_or_of_nobody_is_refused_and_a_limit_says_how_long(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.page.goto(f"/not-me/{GIVEN}")
    ana.click("This was not me")
    ana.sees_response("POST /api/auth/not-me/ → 401 reset_invalid")
    ana.is_told("This link is not valid any more")
    expect(ana.page.get_by_role("button", name="This was not me")).to_be_focused()
    for incomplete in ("", "#", "#uid=1", "#token=1", "#uid=&token="):
        ana.page.goto(f"/undo-email/{incomplete}")
        ana.sees_heading("Open the link in the mail")
    limited = {"status": 429, "headers": {"Retry-After": "90"}, "content_type": "application/problem+json"}
    ana.page.route("**/api/auth/not-me/", lambda route: route.fulfill(**limited, body='{"code": "rate_limited"}'))
    ana.page.goto(f"/not-me/{GIVEN}")
    ana.click("This was not me")
    ana.is_told("Try again in 90 seconds.")
    ana.has_no_complaints()


@pytest.mark.services
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_of_a_link_page_is_cut_off_at_this_width(width: int, browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.page.set_viewport_size({"width": width, "height": 800})
    for link in PAGES:
        for path in (urlsplit(link).path, f"{urlsplit(link).path}{GIVEN}"):
            ana.page.goto(path)
            expect(ana.page.locator("h1:visible")).to_have_count(1)
            assert ana.page.evaluate("document.documentElement.scrollWidth") <= width
    ana.has_no_complaints()


# --- what an account does with itself ----------------------------------------------------------------


def forget_the_proof(demo: Demo) -> None:
    """Every session's last proof is an hour old from now on."""
    with contextlib.closing(sqlite3.connect(demo.log.parent / "demo.sqlite3", timeout=20)) as connection, connection:
        connection.execute("UPDATE django_secure_auth_session SET auth_time = datetime('now', '-1 hour')")


@pytest.mark.services
def test_a_recent_proof_is_asked_for_and_the_request_repeated(browser: Browser, demo: Demo) -> None:
    ana = registered(browser, demo, "proof@example.com")
    part(ana, "Export or close the account")
    forget_the_proof(demo)
    ana.click("Download what is known")
    dialog = ana.page.get_by_role("dialog", name="Is it still you?")
    expect(dialog).to_be_visible()
    expect(ana.page.get_by_label("Password once more")).to_be_focused()
    ana.page.keyboard.press("Escape")
    ana.is_told("That asks for a recent proof that it is you. Nothing was changed.")
    expect(ana.page.get_by_role("button", name="Download what is known")).to_be_focused()

    ana.page.keyboard.press("Enter")
    ana.page.get_by_label("Password once more").fill("not the password")
    ana.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The password is not right.")
    ana.page.get_by_label("Password once more").fill(PASSWORD)
    with ana.page.expect_download() as downloading:
        ana.page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert json.loads(downloading.value.path().read_text())["account"]["email"] == "proof@example.com"
    ana.is_told("All that is known about the account is in account.json.")
    ana.has_no_complaints()


@pytest.mark.services
def test_where_the_policy_wants_a_code_for_the_proof_it_is_asked_for(browser: Browser, demo: Demo) -> None:
    first = registered(browser, demo, "code@example.com")
    first.click("Sign out")
    first.sees_heading("Sign in")
    first.sign_in("code@example.com")  # by the password alone, in a trusted browser
    first.sees_heading("Signed in")
    part(first, "Known devices")
    first.page.get_by_role("button", name="Stop trusting").click()
    first.is_told("The next sign-in there asks for a code.")
    expect(first.page.locator("#devices li")).to_have_count(0)
    part(first, "Activity")
    expect(first.page.locator("#activity li").first).to_be_visible()
    part(first, "Export or close the account")
    forget_the_proof(demo)
    before = len(demo.codes())
    first.page.get_by_label("I want to close this account").check()
    first.click("Close the account")
    first.page.get_by_label("Password once more").fill(PASSWORD)
    first.click("Go on")
    expect(first.page.get_by_label("Code of the mail")).to_be_focused()
    first.page.get_by_label("Code of the mail").fill(demo.code(after=before))
    first.click("Go on")
    first.is_told("You are signed out everywhere.")
    first.sees_heading("Sign in")
    assert first.held().keys() <= {"device"}
    first.pass_code("code@example.com")  # and so it is kept
    first.has_no_complaints()


@pytest.mark.services
@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_of_an_account_is_cut_off_at_this_width(width: int, browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.page.set_viewport_size({"width": width, "height": 800})
    ana.open()
    for link, heading in (("Open an account", "Open an account"), ("Forgotten?", "Choose another password")):
        ana.click(link)
        ana.sees_heading(heading)
        assert ana.page.evaluate("document.documentElement.scrollWidth") <= width
        ana.page.get_by_role("button", name="Back").click()
    ana.pass_code("ana@example.com")
    for summary in ana.page.locator("details summary").all():
        summary.click()
    expect(ana.page.locator("#activity li").first).to_be_visible()
    assert ana.page.evaluate("document.documentElement.scrollWidth") <= width
    forget_the_proof(demo)
    ana.click("Download what is known")
    expect(ana.page.get_by_role("dialog")).to_be_visible()
    assert ana.page.evaluate("document.documentElement.scrollWidth") <= width
    ana.has_no_complaints()
