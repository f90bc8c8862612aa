"""Whatever Schemathesis sends by the committed schema, the example project answers as that says, and never with 500.

Negative and positive data, missing and doubled parameters, foreign methods: each answer must have a documented status,
content type, headers and body, and what does not fit the schema must be refused.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testproject.tour import Browser
from tests.testproject.server import PASSWORD, ROOT, Demo

pytestmark = [pytest.mark.services, pytest.mark.slow]

SCHEMA = ROOT / "docs" / "openapi.yaml"
IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 50 if IS_NIGHTLY else 3  # of each operation in each phase, beside those that cover its parameters
SECONDS = 1200 if IS_NIGHTLY else 300
# Schema-valid data may be refused: a schema does not know which scopes one may give, or what an hour ago was.
# Every request below bears its credentials as fixed headers, so that none can be left out.
LEFT_OUT = "positive_data_acceptance,ignored_auth"
OPEN = (
    "csrf", "login", "otp_approve", "otp_resend", "refresh", "logout", "jwks", "register", "register_verify",
    "password_reset", "password_reset_confirm", "email_undo", "not_me",
)  # fmt: skip
ENDING = ("session_end", "session_end_others", "close")


class Caller(Browser):
    """The tour's browser, and what Schemathesis has to send to be taken for it."""

    def headers(self) -> dict[str, str]:
        # Without the refresh cookie: a second use of it would end the session, as it should.
        names = [name for name in self.jar if name.endswith(("csrftoken", "_access"))]
        return {
            "Cookie": "; ".join(f"{name}={self.jar[name].value}" for name in names),
            "X-CSRF-Token": self.csrf_token,
            "Origin": self.origin,
        }


def caller(demo: Demo) -> Caller:
    place = urlsplit(demo.url)
    found = Caller(str(place.hostname), int(place.port or 0))
    found.csrf_token = found.get("csrf/").must_be(200).body["csrf_token"]
    return found


def signed_in(demo: Demo, email: str) -> Caller:
    found, before = caller(demo), len(demo.codes())
    found.post("login/", email=email, password=PASSWORD).must_be(202)
    found.post("otp/approve/", otp_code=demo.code(after=before)).must_be(200)
    return found


@pytest.fixture(scope="module", autouse=True)
def callers(demo: Demo) -> tuple[Caller, str]:
    """An editor's session and a program's key, before the runs use up what an address may try and an account have."""
    made = signed_in(demo, "admin@example.com").post("api-keys/", name="for the suite", scopes=["reports:read"])
    return signed_in(demo, "editor@example.com"), made.must_be(201).body["key"]


def only(*names: str) -> list[str]:
    return [part for name in names for part in ("--include-operation-id", f"auth_{name}")]


def all_but(*names: str) -> list[str]:
    return [part for name in names for part in ("--exclude-operation-id", f"auth_{name}")]


def conforms(demo: Demo, headers: dict[str, str], *arguments: str, known: dict[str, list[Any]] | None = None) -> int:
    """Run Schemathesis and return how many operations it tested."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(SCHEMA), "--url", demo.url, "--no-color",
        "--max-examples", str(EXAMPLES), "--exclude-checks", LEFT_OUT, "--suppress-health-check", "all",
        *([] if IS_NIGHTLY else ["--seed", "20260301"]),
        *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
        *arguments,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.testproject.schema_hooks",
        "PYTHONPATH": str(ROOT),
        "KNOWN_IDS": json.dumps(known or {}),
    }
    # In a folder of its own: what it remembers of one run must not decide the next.
    done = subprocess.run(
        command, cwd=demo.log.parent, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout[-2000:]
    return int(tested[1])


def answered(demo: Demo, status: int) -> set[str]:
    """Operations that the server has answered with a status, as its log has them; ids are `…`."""
    lines = re.findall(rf'"([A-Z]+ /api/[^ ?]*)[^"]*" {status} ', demo.log.read_text())
    return {re.sub(r"/[0-9a-f-]{36}/|/\d+/", "/…/", line) for line in lines}


def test_who_is_signed_in_gets_what_is_documented(demo: Demo, callers: tuple[Caller, str]) -> None:
    editor, _ = callers
    notes = [editor.post("/api/notes/", title=f"No. {number}").must_be(201).body["id"] for number in range(20)]
    keys = [editor.post("api-keys/", name=f"No. {number}").must_be(201).body["id"] for number in range(6)]
    known = {"id": notes, "key_id": keys}
    assert conforms(demo, editor.headers(), *all_but(*OPEN, *ENDING), known=known) == 25
    assert editor.get("me/").status == 200  # to the end
    # The answers were not refusals only.
    for operation in ("GET /api/notes/…/", "PATCH /api/notes/…/", "POST /api/notes/…/publish/", "GET /api/reports/"):
        assert operation in answered(demo, 200)
    assert answered(demo, 201) >= {"POST /api/notes/", "POST /api/auth/api-keys/", "POST /api/auth/api-keys/…/rotate/"}
    assert answered(demo, 204) >= {"DELETE /api/notes/…/", "DELETE /api/auth/api-keys/…/"}


def test_who_signs_in_and_out_gets_what_is_documented(demo: Demo, callers: tuple[Caller, str]) -> None:
    assert conforms(demo, caller(demo).headers(), *only(*OPEN)) == len(OPEN)


def test_who_ends_sessions_gets_what_is_documented(demo: Demo, callers: tuple[Caller, str]) -> None:
    other = signed_in(demo, "ana@example.com")
    assert conforms(demo, other.headers(), *only(*ENDING), "--phases", "examples,fuzzing") == len(ENDING)


def test_a_stranger_gets_what_is_documented(demo: Demo) -> None:
    assert conforms(demo, {}, "--phases", "examples,fuzzing") == 41


def test_a_program_gets_what_is_documented(demo: Demo, callers: tuple[Caller, str]) -> None:
    _, key = callers
    assert conforms(demo, {"X-API-Key": key}, "--include-operation-id", "reports_list") == 1
    # Everywhere else keys are refused.
    assert conforms(demo, {"X-API-Key": key}, "--phases", "fuzzing") == 41


def test_the_schema_that_is_served_is_the_committed_one(demo: Demo) -> None:
    with urllib.request.urlopen(f"{demo.url}/api/schema/", timeout=30) as response:  # noqa: S310  (our own server)
        assert response.headers["Content-Type"].startswith("application/vnd.oai.openapi")
        assert response.read().decode() == SCHEMA.read_text()
