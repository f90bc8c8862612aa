"""The whole journey over real HTTP, step by step, each with what it proves. Only the standard library.

`manage.py demo --tour` starts a server of its own (settings: testproject.tour_settings) and walks through it here,
as a browser would and as a thief would.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.client import HTTPConnection
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

API = "/api/auth/"
NOTES = "/api/notes/"
OWNER, NEIGHBOUR = "ana@example.com", "ben@example.com"
NEWCOMER, ELSEWHERE = "cleo@example.com", "cleo@elsewhere.example"
"""Nobody's addresses before the tour; the second is the one that the newcomer's is changed to."""
GRACE_SECONDS = 1
"""REFRESH_GRACE of the tour's server (10 by default): before that, a thief's replay looks like a second tab."""
_MAIL_SECONDS = 10
_LINK = re.compile(r"https?://\S+#uid=\S+&token=\S+")


class NotAsPromised(Exception):
    """A step's answer is not what the documentation says."""


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotAsPromised(otherwise)


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    cookies: list[Morsel[str]]
    headers: dict[str, str]
    raw: str

    @property
    def code(self) -> str:
        """The word that says most: a problem's `code`, or the `status` of a sign-in."""
        return str(self.body.get("code") or self.body.get("status") or "")

    def must_be(self, status: int, code: str = "") -> Answer:
        wanted = f"{status} {code}".strip()
        found = f"{self.status} {self.code}".strip()
        expect(self.status == status and code in ("", self.code), f"wanted {wanted}, got {found}: {self.raw[:200]}")
        return self


@dataclass
class Browser:
    """A cookie jar and a CSRF token. What it holds can be copied: that is what a thief does."""

    host: str
    port: int
    name: str = "Firefox"
    jar: dict[str, Morsel[str]] = field(default_factory=dict)
    csrf_token: str = ""

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def cookie(self, kind: str) -> str:
        """The value of our access, refresh, challenge or device cookie; empty when there is none."""
        return next((morsel.value for name, morsel in self.jar.items() if name.endswith(f"_{kind}")), "")

    def copy(self) -> Browser:
        return Browser(self.host, self.port, self.name, dict(self.jar), self.csrf_token)

    def get(self, path: str) -> Answer:
        return self._send("GET", path)

    def post(self, path: str, csrf: bool = True, **body: Any) -> Answer:
        return self._send("POST", path, body, csrf=csrf)

    def delete(self, path: str) -> Answer:
        return self._send("DELETE", path)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None, *, csrf: bool = True) -> Answer:
        headers = {"Host": f"{self.host}:{self.port}", "User-Agent": f"Mozilla/5.0 (X11; Linux) {self.name}/1.0"}
        if method != "GET":
            headers["Origin"] = self.origin
            if csrf:
                headers["X-CSRF-Token"] = self.csrf_token
        if body:
            headers["Content-Type"] = "application/json"
        url = path if path.startswith("/") else API + path
        sent = [f"{name}={morsel.value}" for name, morsel in self.jar.items() if url.startswith(morsel["path"] or "/")]
        if sent:
            headers["Cookie"] = "; ".join(sent)
        connection = HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, url, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            raw = response.read().decode()
            cookies = [morsel for text in response.headers.get_all("Set-Cookie") or [] for morsel in _morsels(text)]
            answer = Answer(response.status, _json(raw), cookies, dict(response.headers), raw)
        finally:
            connection.close()
        for morsel in answer.cookies:
            self.jar[morsel.key] = morsel
            if not morsel.value or morsel["max-age"] == "0":
                del self.jar[morsel.key]
        return answer


def _morsels(text: str) -> list[Morsel[str]]:
    return list(SimpleCookie(text).values())


def _json(raw: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class Journey:
    """What the steps hand on to one another."""

    owner: Browser
    neighbour: Browser
    thief: Browser
    newcomer: Browser
    password: str
    mailbox: Path
    code: str = ""
    link: dict[str, Any] = field(default_factory=dict)
    thief_access: str = ""
    note: int = 0

    def mails(self, text: str) -> list[str]:
        """Bodies of the mails, oldest first, that hold `text`."""
        found = []
        for file in sorted(self.mailbox.glob("*.log"), key=lambda path: path.stat().st_mtime_ns):
            for part in re.split(rb"(?m)^-{79}\r?\n", file.read_bytes()):
                body = message_from_bytes(part, policy=policy.default).get_body(("plain",)) if part.strip() else None
                if body is not None and text in (content := body.get_content()):
                    found.append(content)
        return found

    def wait_for_mail(self, text: str, *, more_than: int = 0) -> str:
        deadline = time.monotonic() + _MAIL_SECONDS
        while len(found := self.mails(text)) <= more_than:
            expect(time.monotonic() < deadline, f"no mail with {text!r} within {_MAIL_SECONDS} s")
            time.sleep(0.05)
        return found[-1]

    def sign_in(self, browser: Browser, email: str, password: str | None = None) -> Answer:
        return browser.post("login/", email=email, password=password or self.password)

    def new_code(self, browser: Browser, email: str) -> tuple[Answer, str]:
        """Sign in where a code is asked for; returns the answer and the code of the mail."""
        before = len(self.mails("Code:"))
        answer = self.sign_in(browser, email).must_be(202, "otp_required")
        return answer, self.mailed_code(more_than=before)

    def mailed_code(self, *, more_than: int) -> str:
        match = re.search(r"^Code: ([0-9]+)", self.wait_for_mail("Code:", more_than=more_than), re.MULTILINE)
        expect(match is not None, "the mail holds no code")
        return match.group(1) if match else ""

    def mailed_link(self, page: str, *, more_than: int = 0) -> dict[str, Any]:
        """Open the page that the newest link leads to, as a browser does; returns what stands behind the `#`."""
        address, _, fragment = _LINK.findall(self.wait_for_mail(f"/{page}/#", more_than=more_than))[-1].partition("#")
        expect(address == f"{self.newcomer.origin}/{page}/", f"the link leads to {address}")
        found = self.newcomer.get(f"/{page}/")
        wanted = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        expect(found.status == 200 and wanted.items() <= found.headers.items(), f"its page answers {found.status}")
        return dict(parse_qsl(fragment))


def _wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


# --- the steps: each asks, checks, and returns what it saw --------------------------------------------


def get_csrf_token(j: Journey) -> Answer:
    browsers = (j.owner, j.neighbour, j.thief, j.newcomer)
    answers = [browser.get("csrf/").must_be(200) for browser in browsers]
    for browser, answer in zip(browsers, answers, strict=True):
        browser.csrf_token = str(answer.body.get("csrf_token", ""))
        expect(bool(browser.csrf_token) and bool(answer.cookies), "no token, or no cookie beside it")
    return answers[0]


def sign_in_without_csrf(j: Journey) -> Answer:
    return j.owner.post("login/", csrf=False, email=OWNER, password=j.password).must_be(403, "csrf_failed")


def sign_in_with_wrong_password(j: Journey) -> Answer:
    known = j.sign_in(j.owner, OWNER, "not the password").must_be(401, "invalid_credentials")
    unknown = j.sign_in(j.owner, "nobody@example.com", "not the password").must_be(401, "invalid_credentials")
    same = [{name: value for name, value in a.body.items() if name != "request_id"} for a in (known, unknown)]
    expect(same[0] == same[1], "an unknown account answers differently")
    return known


def sign_in(j: Journey) -> Answer:
    answer, j.code = j.new_code(j.owner, OWNER)
    expect(not j.owner.cookie("access") and not j.owner.cookie("refresh"), "a password alone has opened a session")
    expect(j.code not in answer.raw and OWNER not in answer.raw, "the answer holds the code or the whole address")
    return answer


def guess_the_code(j: Journey) -> Answer:
    answer = j.owner.post("otp/approve/", otp_code=_wrong(j.code)).must_be(401, "otp_invalid")
    expect(answer.body.get("attempts_left") == 4, f"attempts_left is {answer.body.get('attempts_left')}, not 4")
    return answer


def use_code_elsewhere(j: Journey) -> Answer:
    return j.thief.post("otp/approve/", otp_code=j.code).must_be(401, "challenge_invalid")


def approve(j: Journey) -> Answer:
    answer = j.owner.post("otp/approve/", otp_code=j.code).must_be(200, "authenticated")
    for kind in ("access", "refresh", "device"):
        value = j.owner.cookie(kind)
        expect(bool(value) and value not in answer.raw, f"the {kind} cookie is missing, or in the body too")
    ours = [morsel for morsel in answer.cookies if not morsel.key.startswith("csrf")]
    expect(all(morsel["httponly"] and morsel["samesite"] for morsel in ours), "a cookie is open to scripts")
    return answer


def use_code_again(j: Journey) -> Answer:
    return j.owner.post("otp/approve/", otp_code=j.code).must_be(401, "challenge_invalid")


def who_am_i(j: Journey) -> Answer:
    answer = j.owner.get("me/").must_be(200)
    expect(answer.body.get("email") == OWNER, f"it says {answer.body.get('email')}")
    return answer


def list_sessions(j: Journey) -> Answer:
    answer = j.owner.get("sessions/").must_be(200)
    rows = answer.body.get("results", [])
    expect(len(rows) == 1 and rows[0]["current"] and rows[0]["amr"] == ["pwd", "email"], f"the list is {rows}")
    return answer


def read_own_note(j: Journey) -> Answer:
    rows = j.owner.get(NOTES).must_be(200).body.get("results", [])
    expect(len(rows) == 2, f"the list is {rows}")
    j.note = rows[0]["id"]
    return j.owner.get(f"{NOTES}{j.note}/").must_be(200)


def publish_without_role(j: Journey) -> Answer:
    answer = j.owner.post(f"{NOTES}{j.note}/publish/").must_be(403, "permission_denied")
    note = j.owner.get(f"{NOTES}{j.note}/").must_be(200)
    expect(note.body.get("is_published") is False, "it is published all the same")
    return answer


def read_foreign_note(j: Journey) -> Answer:
    foreign = j.neighbour.get(NOTES).must_be(200).body["results"][0]["id"]
    answers = [j.owner.get(f"{NOTES}{note}/").must_be(404, "not_found") for note in (foreign, 10**9)]
    same = [{name: value for name, value in a.body.items() if name != "request_id"} for a in answers]
    expect(same[0] == same[1], "a note that nobody has answers differently")
    return answers[0]


def write_without_csrf(j: Journey) -> Answer:
    return j.owner.post("refresh/", csrf=False).must_be(403, "csrf_failed")


def end_foreign_session(j: Journey) -> Answer:
    _, code = j.new_code(j.neighbour, NEIGHBOUR)
    opened = j.neighbour.post("otp/approve/", otp_code=code).must_be(200)
    answer = j.owner.delete(f"sessions/{opened.body['session']['id']}/").must_be(404, "not_found")
    j.neighbour.get("me/").must_be(200)
    return answer


def refresh(j: Journey) -> Answer:
    j.thief = j.owner.copy()
    answer = j.owner.post("refresh/").must_be(200, "authenticated")
    expect(j.owner.cookie("refresh") != j.thief.cookie("refresh"), "the refresh token has not changed")
    return answer


def refresh_in_a_second_tab(j: Journey) -> Answer:
    tab = j.thief.copy()
    answer = tab.post("refresh/").must_be(200, "authenticated")
    expect(tab.cookie("refresh") == j.owner.cookie("refresh"), "the second tab got another successor")
    return answer


def replay_stolen_token(j: Journey) -> Answer:
    j.owner.get("me/").must_be(200)  # the first use of the new tokens: from now on the old one is a thief's
    time.sleep(GRACE_SECONDS + 0.2)
    j.thief_access = j.thief.cookie("access")
    return j.thief.post("refresh/").must_be(401, "refresh_reused")


def thief_is_out(j: Journey) -> Answer:
    thief = j.thief.copy()
    name = next(name for name in j.owner.jar if name.endswith("_access"))
    thief.jar[name] = _morsels(f"{name}={j.thief_access}; Path=/")[0]
    return thief.get("me/").must_be(401, "session_revoked")


def owner_is_out(j: Journey) -> Answer:
    answer = j.owner.get("me/").must_be(401, "session_revoked")
    j.owner.copy().post("refresh/").must_be(401, "session_revoked")
    j.wait_for_mail("was used twice")
    return answer


def sign_in_again(j: Journey) -> Answer:
    answer = j.sign_in(j.owner, OWNER).must_be(200, "authenticated")
    expect(answer.body["session"]["amr"] == ["pwd"], f"amr is {answer.body['session']['amr']}")
    return answer


def sign_out(j: Journey) -> Answer:
    j.thief = j.owner.copy()
    answer = j.owner.post("logout/").must_be(204)
    left = [kind for kind in ("access", "refresh", "challenge") if j.owner.cookie(kind)]
    expect(not left and "Clear-Site-Data" in answer.headers, f"still there: {left}, or no Clear-Site-Data")
    return answer


def use_copy_after_sign_out(j: Journey) -> Answer:
    j.owner.get("me/").must_be(401, "not_authenticated")
    return j.thief.get("me/").must_be(401, "session_revoked")


def register(j: Journey) -> Answer:
    before = len(j.mails("Code:"))
    answer = j.newcomer.post("register/", email=NEWCOMER, password=j.password).must_be(202, "otp_required")
    j.sign_in(j.newcomer.copy(), NEWCOMER).must_be(401, "invalid_credentials")
    j.code = j.mailed_code(more_than=before)
    return answer


def verify(j: Journey) -> Answer:
    answer = j.newcomer.post("register/verify/", otp_code=j.code).must_be(200, "authenticated")
    expect(answer.body["user"]["email"] == NEWCOMER, f"it says {answer.body['user']}")
    return answer


def ask_for_reset(j: Journey) -> Answer:
    answers = [j.thief.post("password/reset/", email=e).must_be(202, "accepted") for e in (NEWCOMER, "no@example.com")]
    expect(answers[0].raw == answers[1].raw, "an unknown address answers differently")
    j.link = j.mailed_link("reset-password")
    return answers[0]


def reset(j: Journey) -> Answer:
    new = f"{j.password} anew"
    answer = j.newcomer.post("password/reset/confirm/", **j.link, new_password=new).must_be(204)
    j.sign_in(j.newcomer, NEWCOMER).must_be(401, "invalid_credentials")
    j.password = new
    return answer


def use_link_again(j: Journey) -> Answer:
    body = {**j.link, "new_password": j.password + "!"}
    return j.thief.post("password/reset/confirm/", **body).must_be(401, "reset_invalid")


def sign_in_anew(j: Journey) -> Answer:
    _, code = j.new_code(j.newcomer, NEWCOMER)
    return j.newcomer.post("otp/approve/", otp_code=code).must_be(200, "authenticated")


def change_address(j: Journey) -> Answer:
    before = len(j.mails("Code:"))
    j.newcomer.post("email/change/", new_email=ELSEWHERE).must_be(202, "otp_required")
    expect(j.newcomer.get("me/").body.get("email") == NEWCOMER, "it holds before it is proven")
    answer = j.newcomer.post("otp/approve/", otp_code=j.mailed_code(more_than=before)).must_be(200, "authenticated")
    expect(answer.body["user"]["email"] == ELSEWHERE, f"it says {answer.body['user']}")
    return answer


def undo_change(j: Journey) -> Answer:
    answer = j.thief.post("email/undo/", **j.mailed_link("undo-email")).must_be(204)
    j.newcomer.get("me/").must_be(401, "session_revoked")
    for email in (NEWCOMER, ELSEWHERE):
        j.sign_in(j.thief, email).must_be(401, "invalid_credentials")
    return answer


def reset_after_undo(j: Journey) -> Answer:
    before = len(j.mails("/reset-password/#"))
    j.newcomer.post("password/reset/", email=NEWCOMER).must_be(202, "accepted")
    given = j.mailed_link("reset-password", more_than=before)
    j.newcomer.post("password/reset/confirm/", **given, new_password=j.password).must_be(204)
    return sign_in_anew(j)


def close_account(j: Journey) -> Answer:
    answer = j.newcomer.delete("me/").must_be(204)
    expect(not j.newcomer.cookie("access") and not j.newcomer.cookie("refresh"), "the cookies are still there")
    j.wait_for_mail("closed")
    return answer


def keep_account(j: Journey) -> Answer:
    sign_in_anew(j)
    return j.newcomer.get("me/").must_be(200)


@dataclass(frozen=True)
class Step:
    title: str
    walk: Callable[[Journey], Answer]
    proves: str


STEPS = (
    Step("fetch a CSRF token", get_csrf_token, "everyone gets one, signed in or not"),
    Step("sign in without it", sign_in_without_csrf, "another site cannot sign you in"),
    Step("wrong password, unknown account", sign_in_with_wrong_password, "both answer alike: no telling who has one"),
    Step("right password", sign_in, "opens nothing yet: a code is on its way by mail"),
    Step("wrong code", guess_the_code, "four attempts are left of five"),
    Step("right code, other browser", use_code_elsewhere, "a code is worth nothing where it was not asked for"),
    Step("right code", approve, "signed in; tokens are in HttpOnly cookies, not in the body"),
    Step("the same code again", use_code_again, "it works once"),
    Step("who am I", who_am_i, "the access cookie is enough to read"),
    Step("my sessions", list_sessions, "one, this one, by password and e-mail"),
    Step("read my notes", read_own_note, "a project's own view knows who asks"),
    Step("publish one", publish_without_role, "that takes the role editor"),
    Step("write without the CSRF token", write_without_csrf, "the cookies alone cannot write"),
    Step("end somebody else's session", end_foreign_session, "for you it does not exist; ben stays signed in"),
    Step("read somebody else's note", read_foreign_note, "the same answer as for one that nobody has"),
    Step("refresh", refresh, "a new refresh token; the old one is used up"),
    Step("refresh again, second tab", refresh_in_a_second_tab, "a lost answer is forgiven: the same successor"),
    Step("replay of a stolen token", replay_stolen_token, "two parties hold it: theft, the session ends"),
    Step("the thief's access token", thief_is_out, "dead at once, though not expired"),
    Step("the owner's tokens", owner_is_out, "dead too, and a mail says why"),
    Step("sign in from the trusted device", sign_in_again, "no code: this browser has approved one before"),
    Step("sign out", sign_out, "cookies are cleared"),
    Step("a copy of the cookies afterwards", use_copy_after_sign_out, "signed out means on the server, too"),
    Step("open an account", register, "there is none before the code of the mail"),
    Step("prove its address", verify, "now there is one, and it is signed in"),
    Step("forget the password", ask_for_reset, "a link is mailed; who has no account gets the same answer"),
    Step("choose another by that link", reset, "set, every session is over, the old one is worth nothing"),
    Step("the same link again", use_link_again, "it works once"),
    Step("sign in with the new one", sign_in_anew, "a code is asked for: no device is trusted any more"),
    Step("change the e-mail address", change_address, "it holds when its code is approved, not before"),
    Step("undo that by the mailed link", undo_change, "the old address again; nobody knows the password now"),
    Step("reset it, and sign in", reset_after_undo, "the mailbox gives the account back"),
    Step("close the account", close_account, "signed out; a mail says on which day it goes"),
    Step("sign in again", keep_account, "the account is there: who comes back in time keeps it"),
)


def walk(journey: Journey, say: Callable[[str], object]) -> bool:
    """Go through all steps, telling each in one line; stops at the first that is not as promised."""
    started = time.monotonic()
    for number, step in enumerate(STEPS, start=1):
        try:
            answer = step.walk(journey)
        except Exception as error:
            reason = str(error) if isinstance(error, NotAsPromised) else f"{type(error).__name__}: {error}"
            say(f"FAILED {number:2} {step.title}: {reason}")
            say(f"Not as promised: step {number} of {len(STEPS)} ({step.title}).")
            return False
        outcome = f"{answer.status} {answer.code}".strip()
        say(f"ok {number:2}  {step.title:<33}{outcome:<24} {step.proves}")
    say(f"All {len(STEPS)} steps are as promised ({time.monotonic() - started:.1f} s).")
    return True
