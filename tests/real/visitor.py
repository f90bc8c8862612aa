"""A browser behind the site's TLS proxy: it speaks http to the server, and says what the proxy would say.

Each request has a connection of its own, so that any worker of the server may answer it.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

HOST = "app.example.com"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PROBLEM = "application/problem+json"

ACCESS = "__Host-secure_auth_access"
REFRESH = "__Secure-secure_auth_refresh"
CHALLENGE = "__Host-secure_auth_challenge"
DEVICE = "__Host-secure_auth_device"
OURS = (ACCESS, REFRESH, CHALLENGE, DEVICE)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The code of a problem document; "" when the answer is none."""
        return str(self.json()["code"]) if self.header("Content-Type") == PROBLEM else ""

    @property
    def set_cookies(self) -> dict[str, str]:
        """The cookies that it sets; one that it deletes has no value."""
        found: dict[str, str] = {}
        for key, line in self.headers:
            if key.lower() == "set-cookie":
                for name, morsel in SimpleCookie(line).items():
                    found[name] = "" if morsel["max-age"] == "0" else morsel.value
        return found


@dataclass
class Visitor:
    """One browser. Every answer stays in `answers`, every cookie that it ever got in `cookies_seen`."""

    port: int
    address: str = "203.0.113.7"
    secure: bool = True
    user_agent: str = FIREFOX
    jar: dict[str, str] = field(default_factory=dict)
    csrf_token: str = ""
    answers: list[Answer] = field(default_factory=list)
    cookies_seen: list[tuple[str, str]] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)
    """Headers beside those of every request."""

    def send(self, method: str, path: str, body: Any = None, *, form: dict[str, str] | None = None) -> Answer:
        # Without TLS in front (`secure=False`, a development server) the host is the server's own.
        host = HOST if self.secure else f"127.0.0.1:{self.port}"
        origin = f"https://{host}" if self.secure else f"http://{host}"
        headers = {"Host": host, "User-Agent": self.user_agent, "Connection": "close", **self.more}
        if self.secure:
            headers |= {"X-Forwarded-For": self.address, "X-Forwarded-Proto": "https"}
        if self.jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        # Django draws a new one at each sign-in to the admin; the cookie's value is as good as the page's.
        token = self.jar.get("csrftoken", self.csrf_token)
        if method != "GET":
            headers |= {"Origin": origin, "Referer": f"{origin}/", "X-CSRF-Token": token}
        data = None
        if form is not None:
            data = urlencode({"csrfmiddlewaretoken": token, **form}).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        answer = Answer(response.status, response.getheaders(), raw, time.monotonic() - began)
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        self.answers.append(answer)
        for name, value in answer.set_cookies.items():
            if value:
                self.jar[name] = value
                self.cookies_seen.append((name, value))
            else:
                self.jar.pop(name, None)

    def arrive(self) -> Visitor:
        answer = self.send("GET", "/api/auth/csrf/")
        assert answer.status == 200, answer
        self.csrf_token = answer.json()["csrf_token"]
        return self

    # --- the stories

    def post(self, name: str, body: Any = None) -> Answer:
        return self.send("POST", f"/api/auth/{name}/", body)

    def login(self, email: str, password: str) -> Answer:
        if not self.csrf_token:
            self.arrive()
        return self.post("login", {"email": email, "password": password})

    def approve(self, code: str) -> Answer:
        return self.post("otp/approve", {"otp_code": code})

    def resend(self) -> Answer:
        return self.post("otp/resend")

    def refresh(self) -> Answer:
        return self.post("refresh")

    def logout(self) -> Answer:
        return self.post("logout")

    def me(self) -> Answer:
        return self.send("GET", "/api/auth/me/")

    def copy(self) -> Visitor:
        """A thief, or a second tab: the same cookies. Its answers are kept apart."""
        return Visitor(self.port, self.address, self.secure, self.user_agent, dict(self.jar), self.csrf_token)
