"""What the policies let through and what they stop, in Chromium against a real server."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page

from tests.testproject.server import PASSWORD, Demo

pytestmark = pytest.mark.services

ADMIN_PAGES = (
    "/admin/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/1/change/",
    "/admin/auth/user/1/history/",
    "/admin/auth/user/1/delete/",
    "/admin/notes/note/",
    "/admin/notes/note/add/",
    "/admin/django_secure_auth/role/add/",
    "/admin/django_secure_auth/roleassignment/add/",
    "/admin/django_secure_auth/apikey/",
    "/admin/django_secure_auth/securityevent/",
    "/admin/django_secure_auth/session/",
    "/admin/password_change/",
    "/admin/jsi18n/",
)


def watched(page: Page) -> list[str]:
    """Everything that the browser complains about: errors of scripts, and what a policy has blocked."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    return complaints


def signed_in_staff(browser: Browser, demo: Demo) -> Page:
    page = browser.new_context(base_url=demo.url, viewport={"width": 1280, "height": 900}).new_page()
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    before = len(demo.codes())
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Code").fill(demo.code(after=before))
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Site administration").wait_for()
    return page


@pytest.mark.control("ASVS-3.4.3")
def test_the_admin_works_under_its_policy_and_the_browser_has_no_complaint(browser: Browser, demo: Demo) -> None:
    page = signed_in_staff(browser, demo)
    complaints = watched(page)
    for path in ADMIN_PAGES:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        if path != "/admin/jsi18n/":
            assert "script-src 'self'" in answer.headers["content-security-policy"], path
            page.wait_for_load_state("networkidle")
    # What its scripts do: two lists that exchange their entries, the theme, a calendar, an action.
    page.goto("/admin/auth/user/1/change/")
    page.locator("#id_groups_from, #id_groups").first.wait_for()
    page.locator("#id_user_permissions_from option").first.dblclick()
    assert page.locator("#id_user_permissions_to option").count() == 1
    page.locator(".datetimeshortcuts a", has_text="Today").first.click()
    assert page.locator("#id_last_login_0").input_value()
    page.locator(".theme-toggle").first.click()
    page.goto("/admin/notes/note/")
    page.locator("#action-toggle").check()
    assert page.locator("tr.selected").count() > 0
    assert complaints == []


INJECTED = (
    "<script>window.hacked = 'script'</script>"
    "<a id=link href=\"javascript:window.hacked = 'link'\">a link</a>"
    "<button id=handler onclick=\"window.hacked = 'handler'\">a button</button>"
    "<img src=/nowhere onerror=\"window.hacked = 'image'\">"
)


def violations(demo: Demo) -> list[dict[str, Any]]:
    query = "SELECT details FROM django_secure_auth_securityevent WHERE event = 'csp_violation'"
    with contextlib.closing(sqlite3.connect(demo.log.parent / "demo.sqlite3", timeout=20)) as connection:
        return [json.loads(details) for (details,) in connection.execute(query)]


class Injecting(BaseHTTPRequestHandler):
    """Passes everything on to the site, and puts what an attacker would write into its page."""

    site = ""

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        request = Request(f"{self.site}{self.path}", data=body, headers=dict(self.headers), method=self.command)  # noqa: S310  # our own server
        try:
            answer = urlopen(request, timeout=10)  # noqa: S310  # as above
        except HTTPError as refusal:
            answer = refusal
        page = answer.read().replace(b"<main>", b"<main>" + INJECTED.encode())
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_POST = pass_on

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def injected(demo: Demo) -> Iterator[str]:
    handler = type("Handler", (Injecting,), {"site": demo.url})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.control("ASVS-3.4.3")
def test_what_is_injected_into_a_page_does_not_run_and_is_reported(browser: Browser, demo: Demo, injected: str) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{injected}/")
    page.locator("#link").click()
    page.locator("#handler").click()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.hacked") is None
    deadline = time.monotonic() + 15
    wanted = {"script-src-elem", "script-src-attr"}
    while not {one["directive"] for one in violations(demo)} >= wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {one["directive"] for one in violations(demo)} >= wanted
    assert {one["blocked"] for one in violations(demo)} == {"inline"}
    assert {one["page"] for one in violations(demo)} == {f"{injected}/"}
