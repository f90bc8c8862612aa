"""The committed schema is the one that the code gives, and a viewer shows it under the strict policy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, expect

from tests.testproject.server import PASSWORD, ROOT, Demo, Manage, clean_environment
from tests.testproject.visitor import Visitor

SCHEMA = ROOT / "docs" / "openapi.yaml"


def test_the_committed_schema_is_up_to_date_valid_and_made_without_a_warning(manage: Manage) -> None:
    done = manage("spectacular", "--validate", "--fail-on-warn")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == SCHEMA.read_text().rstrip(), "run `make schema`: docs/openapi.yaml is not up to date"


def test_nothing_of_it_is_loaded_in_a_project_without_drf_spectacular() -> None:
    code = (
        "import sys; from testproject import settings; settings.INSTALLED_APPS.remove('drf_spectacular');"
        "import django; django.setup(); print([name for name in sys.modules if name.startswith('drf_spectacular.')])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.services
def test_the_viewer_shows_the_api_and_calls_it_under_the_strict_policy(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    response = ana.page.goto("/api/docs/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "img-src 'self';" in policy
    assert "require-trusted-types-for 'script'; trusted-types dompurify default" in policy

    login = ana.page.locator("#operations-auth-auth_login")
    login.locator(".opblock-summary-control").click()
    expect(login).to_contain_text("A wrong password, an unknown and an inactive account are answered alike.")
    expect(login.locator("code").first).to_have_text("otp/approve/")  # markdown, by way of the policies
    login.get_by_role("button", name="Try it out").click()
    login.locator("textarea").fill(json.dumps({"email": "ana@example.com", "password": PASSWORD}))
    before = len(demo.codes())
    login.get_by_role("button", name="Execute").click()
    expect(login.locator(".live-responses-table")).to_contain_text("otp_required")

    approve = ana.page.locator("#operations-auth-auth_otp_approve")
    approve.locator(".opblock-summary-control").click()
    approve.get_by_role("button", name="Try it out").click()
    approve.locator("textarea").fill(json.dumps({"otp_code": demo.code(after=before)}))
    approve.get_by_role("button", name="Execute").click()
    expect(approve.locator(".live-responses-table")).to_contain_text("authenticated")

    notes = ana.page.locator("#operations-notes-notes_list")
    notes.locator(".opblock-summary-control").click()
    notes.get_by_role("button", name="Try it out").click()
    notes.get_by_role("button", name="Execute").click()
    expect(notes.locator(".live-responses-table")).to_contain_text("Ana's shopping list")

    ana.page.locator(".auth-wrapper .authorize").first.click()
    for scheme in ("accessCookie", "apiKey", "bearerToken", "csrfToken"):
        expect(ana.page.locator(".modal-ux")).to_contain_text(scheme)
    ana.has_no_complaints()


@pytest.mark.services
def test_what_the_last_gate_of_the_viewer_does_not_know_shows_as_text(browser: Browser, demo: Demo) -> None:
    ana = Visitor(browser, demo)
    ana.page.goto("/api/docs/")
    hostile = {
        "<p>a <code>b</code></p>": "<p>a <code>b</code></p>",
        "<img src=x onerror=alert(1)>": "&lt;img src=x onerror=alert(1)&gt;",
        "<p onclick=alert(1)>a</p>": "&lt;p onclick=alert(1)&gt;a<p></p>",
        "<svg/onload=alert(1)>": "&lt;svg/onload=alert(1)&gt;",
        "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<!--<p>-->": "&lt;!--<p>--&gt;</p>",
    }
    for html, shown in hostile.items():
        written = ana.page.evaluate(
            "(html) => { const e = document.createElement('div'); e.innerHTML = html; return e.innerHTML; }", html
        )
        assert written == shown
