"""A person at a browser of their own, for the tests that click."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.testproject.server import PASSWORD, Demo

CREDENTIALS = ("access", "refresh", "challenge", "device")
# Chromium's own line for an answer of 4xx, which the steps below provoke; each is looked at in the page.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


class Visitor:
    """A person at a browser of their own, and what its console says."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self.demo = demo
        self.context: BrowserContext = browser.new_context(base_url=demo.url)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        # A violation that makes no noise in the console is still an event.
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " (event) => console.error('violated: ' + event.effectiveDirective + ' ' + event.blockedURI))"
        )

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not REFUSED.match(message.text):
            self.complaints.append(message.text)

    def open(self) -> None:
        self.page.goto("/")
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def sign_in(self, email: str, password: str = PASSWORD) -> None:
        form = self.page.locator("#sign-in-form")
        form.get_by_label("E-mail address").fill(email)
        form.get_by_label("Password").fill(password)
        self.click("Sign in")

    def enter_code(self, code: str) -> None:
        self.page.get_by_label("Code", exact=True).fill(code)
        self.click("Approve")

    def ask_for_code(self, email: str) -> str:
        """Give the password, and return the code that was mailed for it."""
        before = len(self.demo.codes())
        self.sign_in(email)
        self.sees_heading("Enter the code")
        return self.demo.code(after=before)

    def pass_code(self, email: str) -> None:
        self.enter_code(self.ask_for_code(email))
        self.sees_heading("Signed in")

    def sees_heading(self, name: str) -> None:
        expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible()

    def sees_response(self, text: str) -> None:
        expect(self.page.locator("#response-line")).to_contain_text(text)

    def is_told(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(text)

    def session_rows(self, count: int) -> None:
        expect(self.page.locator("#sessions li")).to_have_count(count)

    def held(self) -> dict[str, bool]:
        """Our cookies that this browser holds, by kind; whether each is HttpOnly."""
        cookies = {str(cookie.get("name")): bool(cookie.get("httpOnly")) for cookie in self.context.cookies()}
        # The refresh cookie's path is the API's: asked for by its address.
        api = self.context.cookies(f"{self.demo.url}/api/auth/")
        cookies |= {str(cookie.get("name")): bool(cookie.get("httpOnly")) for cookie in api}
        return {kind: flag for kind in CREDENTIALS for name, flag in cookies.items() if name == f"secure_auth_{kind}"}

    def scripts_read_no_credential(self) -> None:
        readable = str(self.page.evaluate("document.cookie"))
        assert readable.startswith("csrftoken=")
        assert not any(kind in readable for kind in CREDENTIALS), readable
        assert ";" not in readable, readable
        stored = str(self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
        assert all(str(cookie.get("value")) not in stored for cookie in self.context.cookies())

    def has_no_complaints(self) -> None:
        assert self.complaints == []
