"""A person clicks through the demo page and the admin, in Chromium, against a real server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.testproject.server import PASSWORD, Demo
from tests.testproject.visitor import Visitor

pytestmark = pytest.mark.services


def wrong(code: str) -> str:
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def test_the_whole_journey_by_clicking(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.open()
    expect(ana.page.get_by_label("E-mail address", exact=True)).to_be_focused()
    assert ana.held() == {}

    ana.sign_in("ana@example.com", "not the password")
    ana.is_told("The e-mail address or the password is not right.")
    ana.sees_response("POST /api/auth/login/ → 401 invalid_credentials")
    expect(ana.page.get_by_label("Password", exact=True)).to_be_focused()

    ana.page.get_by_label("Remember me").check()
    code = ana.ask_for_code("ana@example.com")
    ana.sees_response("202 otp_required")
    expect(ana.page.locator("#sent-to")).to_have_text("a***@example.com")
    expect(ana.page.get_by_role("button", name=re.compile(r"Send again \(\d+ s\)"))).to_be_disabled()
    expect(ana.page.get_by_label("Code", exact=True)).to_be_focused()
    assert ana.held() == {"challenge": True}
    ana.scripts_read_no_credential()

    ana.enter_code(wrong(code))
    ana.is_told("The code is not right.")
    expect(ana.page.get_by_text("4 attempts are left.")).to_be_visible()
    ana.page.reload()  # the step survives it
    ana.sees_heading("Enter the code")
    ana.enter_code(code)
    ana.sees_heading("Signed in")
    ana.sees_response("POST /api/auth/otp/approve/ → 200 authenticated")
    expect(ana.page.locator("#facts")).to_contain_text("password, e-mailed code")
    expect(ana.page.get_by_role("heading", name="Signed in")).to_be_focused()
    assert ana.held() == {"access": True, "refresh": True, "device": True}
    ana.scripts_read_no_credential()

    ana.click("Who am I?")
    ana.sees_response("GET /api/auth/me/ → 200")
    ana.is_told("You are ana@example.com.")
    ana.click("Update the list")
    ana.sees_response("GET /api/auth/sessions/ → 200")
    expect(ana.page.locator("#sessions .badge")).to_have_count(1)

    before = {str(cookie.get("name")): cookie.get("value") for cookie in ana.context.cookies(f"{demo.url}/api/auth/")}
    ana.click("Refresh")
    ana.sees_response("POST /api/auth/refresh/ → 200 authenticated")
    ana.is_told("Refreshed.")
    after = {str(cookie.get("name")): cookie.get("value") for cookie in ana.context.cookies(f"{demo.url}/api/auth/")}
    assert before["secure_auth_refresh"] != after["secure_auth_refresh"]

    ana.page.reload()
    ana.sees_heading("Signed in")
    ana.click("Sign out")
    ana.is_told("Signed out.")
    ana.sees_heading("Sign in")
    ana.sees_response("POST /api/auth/logout/ → 204")
    assert ana.held() == {"device": True}
    ana.page.reload()
    ana.sees_heading("Sign in")

    ana.sign_in("ana@example.com")  # trusted by now: no code
    ana.sees_heading("Signed in")
    ana.is_told("no code was needed")
    ana.has_no_complaints()


def test_a_session_is_ended_from_another_browser(browser: Browser, demo: Demo) -> None:
    first, second, third = (Visitor(browser, demo) for _ in range(3))
    for visitor in (first, second, third):
        visitor.open()
        visitor.pass_code("ben@example.com")
    first.click("Update the list")
    first.is_told("3 sessions.")
    first.session_rows(3)

    # The newest is on top: the third browser's.
    first.page.locator("#sessions li").first.get_by_role("button").click()
    first.sees_response("204")
    first.is_told("That session has ended.")
    first.session_rows(2)
    third.click("Who am I?")
    third.is_told("The session has ended; sign in again.")
    third.sees_heading("Sign in")
    third.sees_response("401 session_revoked")

    first.click("End all others")
    first.is_told("All other sessions have ended.")
    first.session_rows(1)
    expect(first.page.get_by_role("button", name="End all others")).to_be_disabled()
    second.click("Update the list")
    second.sees_heading("Sign in")
    first.click("Who am I?")
    first.is_told("You are ben@example.com.")

    first.page.locator("#sessions li").get_by_role("button").click()
    first.is_told("This session has ended.")
    first.sees_heading("Sign in")
    for visitor in (first, second, third):
        visitor.has_no_complaints()


def test_an_expired_access_token_is_refreshed_once_and_the_request_repeated(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.open()
    ana.pass_code("ana@example.com")
    expired = {"status": 401, "content_type": "application/problem+json", "body": '{"code": "token_expired"}'}
    ana.page.route("**/api/auth/me/", lambda route: route.fulfill(**expired), times=1)
    sent: list[str] = []
    ana.page.on("request", lambda request: sent.append(f"{request.method} {request.url.removeprefix(demo.url)}"))
    ana.click("Who am I?")
    ana.is_told("You are ana@example.com.")
    assert sent == ["GET /api/auth/me/", "POST /api/auth/refresh/", "GET /api/auth/me/"]
    ana.has_no_complaints()


def test_five_wrong_codes_lead_back_to_the_password(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.open()
    guess = wrong(ana.ask_for_code("ana@example.com"))
    for left in (4, 3, 2):
        ana.enter_code(guess)
        expect(ana.page.get_by_text(f"{left} attempts are left.")).to_be_visible()
    ana.enter_code(guess)
    expect(ana.page.get_by_text("One attempt is left.")).to_be_visible()
    ana.enter_code(guess)
    ana.sees_heading("Sign in")
    ana.is_told("The code is not right.")
    ana.has_no_complaints()


def test_the_journey_needs_no_mouse(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.open()
    keyboard = ana.page.keyboard
    before = len(demo.codes())
    keyboard.type("ana@example.com")
    keyboard.press("Tab")
    keyboard.type(PASSWORD)
    keyboard.press("Enter")
    ana.sees_heading("Enter the code")
    expect(ana.page.get_by_label("Code", exact=True)).to_be_focused()
    keyboard.type(demo.code(after=before))
    keyboard.press("Enter")
    ana.sees_heading("Signed in")
    expect(ana.page.get_by_role("heading", name="Signed in")).to_be_focused()
    for _ in range(3):
        keyboard.press("Tab")
    expect(ana.page.get_by_role("button", name="Sign out")).to_be_focused()
    keyboard.press("Enter")
    ana.sees_heading("Sign in")
    ana.has_no_complaints()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_off_at_this_width(width: int, browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.page.set_viewport_size({"width": width, "height": 800})
    ana.open()
    ana.pass_code("ana@example.com")
    expect(ana.page.locator("#sessions .badge")).to_be_visible()
    assert ana.page.evaluate("document.documentElement.scrollWidth") <= width


def test_staff_sign_in_to_the_admin_with_password_and_code_and_read_its_pages(browser: Browser, demo: Demo) -> None:
    editor = Visitor(browser, demo)
    editor.open()
    editor.pass_code("editor@example.com")

    root = Visitor(browser, demo)
    page = root.page

    def submit(username: str, password: str) -> None:
        page.get_by_label("Username:").fill(username)
        page.get_by_label("Password:").fill(password)
        page.get_by_role("button", name="Log in").click()

    page.goto("/admin/")
    submit("ana@example.com", PASSWORD)  # not staff
    expect(page.locator(".errornote")).to_be_visible()
    submit("admin@example.com", "not the password")
    expect(page.locator(".errornote")).to_be_visible()
    before = len(demo.codes())
    submit("admin@example.com", PASSWORD)
    expect(page.get_by_text("A code is on its way")).to_be_visible()
    tab = root.context.new_page()
    tab.goto("/admin/django_secure_auth/session/")
    expect(tab.get_by_label("Username:")).to_be_visible()  # half signed in is not signed in
    tab.close()
    code = demo.code(after=before)
    for entered, seen in ((wrong(code), page.locator(".errornote")), (code, page.get_by_text("Site administration"))):
        page.get_by_label("Code").fill(entered)
        page.get_by_role("button", name="Approve").click()
        expect(seen).to_be_visible()

    for name, columns, detail in (
        ("Sessions", ("User", "Alive", "Device label"), "Absolute at:"),
        ("OTP challenges", ("User", "State", "Attempts"), "Closed reason:"),
        ("Trusted devices", ("User", "Label", "Alive"), "Expires at:"),
        ("Security events", ("Occurred at", "Severity", "Event"), "Request id:"),
    ):
        page.goto("/admin/")
        page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()
        head = page.locator("#result_list thead")
        for column in columns:
            expect(head).to_contain_text(column, ignore_case=True)
        page.locator("#result_list tbody th a").first.click()
        expect(page.get_by_text(detail)).to_be_visible()

    page.goto("/admin/django_secure_auth/session/?state=alive&q=editor@example.com")
    page.get_by_label("Select this object for an action - session").check()
    page.get_by_label("Action:").select_option(label="End selected sessions")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.get_by_text("1 session was ended.")).to_be_visible()
    editor.click("Who am I?")
    editor.sees_heading("Sign in")
    root.has_no_complaints()


def test_staff_sign_in_as_a_user_and_the_page_says_so(browser: Browser, demo: Demo) -> None:
    boss = Visitor(browser, demo)
    page = boss.page
    page.goto("/admin/")
    before = len(demo.codes())
    page.get_by_label("Username").fill("admin@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator("[name=otp_code]").fill(demo.code(after=before))
    page.locator("[type=submit]").first.click()
    page.get_by_role("link", name="Impersonations", exact=True).first.click()
    page.get_by_role("link", name="Add impersonation").first.click()
    page.goto("/admin/auth/user/?q=ben")
    ben = re.search(r"/user/(\d+)/", str(page.get_by_role("link", name="ben@example.com").get_attribute("href")))
    assert ben is not None
    page.goto("/admin/django_secure_auth/impersonation/add/")
    page.get_by_label("User:").fill(ben[1])
    page.get_by_label("Reason:").fill("Ticket 4711: the basket stays empty")
    page.get_by_label("Your own password:").fill("not the password")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The password is not right.")).to_be_visible()
    page.get_by_label("Your own password:").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    boss.sees_heading("Signed in")
    expect(page.locator("#banner")).to_contain_text("admin@example.com is signed in as ben@example.com, until")
    page.get_by_text("Export or close the account").click()
    page.get_by_label("I want to close this account").check()
    boss.click("Close the account")
    boss.sees_response("403 impersonation_refused")
    boss.is_told("This cannot be done in somebody else's name.")
    boss.click("Sign out")
    boss.sees_heading("Sign in")
    boss.has_no_complaints()
