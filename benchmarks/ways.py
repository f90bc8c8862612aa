"""How a client of each kind signs in, asks, refreshes and signs out, as WSGI calls into this process."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.cookies import SimpleCookie
from io import BytesIO
from typing import Any

from django.core import mail

from benchmarks.setups import PASSWORD

_CSRF = "c" * 32
_HOST = "testserver"
Environ = dict[str, Any]


@dataclass
class Visitor:
    """What a client holds. Plain values, so that it can be handed to another process."""

    email: str
    cookies: dict[str, str] = field(default_factory=dict)
    authorization: str = ""
    refresh: str = ""
    api_key: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def headers(self) -> dict[str, str]:
        """What it sends with each request, for a client that speaks HTTP."""
        headers = {}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.authorization:
            headers["Authorization"] = self.authorization
        if self.api_key:
            headers["X-API-Key"] = self.api_key
        return headers


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(RuntimeError):
    """An answer that the benchmark did not expect: what was measured would not be what it says."""


class Application:
    """Calls the WSGI application as a server would, without a server's own time."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler

    def send(self, environ: Environ) -> Answer:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            head[:] = [status, headers]

        response = self.handler({**environ, "wsgi.input": BytesIO(environ["bench.body"])}, start_response)
        body = b"".join(response)
        response.close()
        return Answer(int(head[0][:3]), head[1], body)

    def expect(self, environ: Environ, *statuses: int) -> Answer:
        answer = self.send(environ)
        if answer.status not in statuses:
            raise Refused(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {answer.status} {answer.body[:300]!r}")
        return answer


def _environ(method: str, path: str, visitor: Visitor | None = None, body: Any = None) -> Environ:
    content = b"" if body is None else json.dumps(body).encode()
    environ: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": _HOST,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": _HOST,
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "HTTP_ACCEPT": "application/json",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "bench.body": content,
    }
    if method != "GET":
        environ |= {
            "CONTENT_TYPE": "application/json" if body is not None else "",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_ORIGIN": f"https://{_HOST}",
        }
    if visitor is not None:
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in visitor.headers().items()}
        if "csrftoken" in visitor.cookies:
            environ["HTTP_X_CSRFTOKEN"] = visitor.cookies["csrftoken"]
    return environ


def _cookies_of(answer: Answer) -> dict[str, str]:
    found = {}
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            found.update({key: morsel.value for key, morsel in SimpleCookie(value).items()})
    return found


class Way:
    """Plain: nothing to sign in to."""

    ok = (200,)

    def __init__(self, application: Application) -> None:
        self.application = application

    def visitor(self, email: str) -> Visitor:
        return Visitor(email)

    def login(self, visitor: Visitor) -> Environ:
        raise NotImplementedError

    def keep(self, visitor: Visitor, answer: Answer) -> None:
        """Take what the answer to a sign-in or a refresh gives."""

    def sign_in(self, visitor: Visitor) -> None:
        self.keep(visitor, self.application.expect(self.login(visitor), *self.ok))

    def get(self, visitor: Visitor, path: str = "/whoami/") -> Environ:
        return _environ("GET", path, visitor)

    def program(self, key: str) -> Visitor:
        """Who comes with an API key and nothing else."""
        return Visitor("", authorization=f"Api-Key {key}")

    def elsewhere(self, visitor: Visitor) -> Visitor:
        return visitor

    def refresh(self, visitor: Visitor) -> Environ:
        raise NotImplementedError

    def logout(self, visitor: Visitor) -> Environ | None:
        return None


class PlainWay(Way):
    def sign_in(self, visitor: Visitor) -> None:
        pass


class SessionWay(Way):
    def visitor(self, email: str) -> Visitor:
        return Visitor(email, cookies={"csrftoken": _CSRF})

    def login(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/login/", visitor, {"email": visitor.email, "password": PASSWORD})

    def keep(self, visitor: Visitor, answer: Answer) -> None:
        visitor.cookies.update(_cookies_of(answer))

    def logout(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/logout/", visitor)


class SimpleJWTWay(Way):
    def login(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/login/", None, {"username": visitor.email, "password": PASSWORD})

    def keep(self, visitor: Visitor, answer: Answer) -> None:
        body = answer.json()
        visitor.authorization = f"Bearer {body['access']}"
        visitor.refresh = body["refresh"]

    def refresh(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/refresh/", None, {"refresh": visitor.refresh})

    def logout(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/logout/", None, {"refresh": visitor.refresh})


class KnoxWay(Way):
    def login(self, visitor: Visitor) -> Environ:
        basic = base64.b64encode(f"{visitor.email}:{PASSWORD}".encode()).decode()
        return _environ("POST", "/login/", Visitor(visitor.email, authorization=f"Basic {basic}"))

    def keep(self, visitor: Visitor, answer: Answer) -> None:
        visitor.authorization = f"Token {answer.json()['token']}"

    def logout(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/logout/", visitor)


class OurWay(Way):
    """Cookies, as a browser has them. The first sign-in is approved by a mailed code, and trusts the device."""

    def visitor(self, email: str) -> Visitor:
        return Visitor(email, cookies={"csrftoken": _CSRF})

    def login(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/api/auth/login/", visitor, {"email": visitor.email, "password": PASSWORD})

    def keep(self, visitor: Visitor, answer: Answer) -> None:
        visitor.cookies.update(_cookies_of(answer))
        visitor.refresh = next((value for name, value in visitor.cookies.items() if name.endswith("refresh")), "")

    def approve(self, visitor: Visitor) -> Environ:
        from django_secure_auth.testing import latest_code  # noqa: PLC0415  # not there in the peers' processes

        code = latest_code(mail.outbox)
        return _environ("POST", "/api/auth/otp/approve/", visitor, {"otp_code": code})

    def sign_in(self, visitor: Visitor) -> None:
        answer = self.application.expect(self.login(visitor), 200, 202)
        self.keep(visitor, answer)
        if answer.status == 202:
            self.keep(visitor, self.application.expect(self.approve(visitor), 200))
            mail.outbox.clear()

    def without_session(self, visitor: Visitor) -> Visitor:
        """The same browser after its session ended: it still has its device cookie."""
        kept = {
            name: value for name, value in visitor.cookies.items() if name == "csrftoken" or name.endswith("device")
        }
        return Visitor(visitor.email, cookies=kept)

    def get(self, visitor: Visitor, path: str = "/whoami/") -> Environ:
        return _environ("GET", path, self.elsewhere(visitor))

    def program(self, key: str) -> Visitor:
        return Visitor("", api_key=key)

    def elsewhere(self, visitor: Visitor) -> Visitor:
        """What a browser sends to the project's own paths: all but the refresh cookie, whose path is ours."""
        sent = {name: value for name, value in visitor.cookies.items() if not name.endswith("refresh")}
        return Visitor(visitor.email, cookies=sent, api_key=visitor.api_key)

    def refresh(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/api/auth/refresh/", visitor)

    def logout(self, visitor: Visitor) -> Environ:
        return _environ("POST", "/api/auth/logout/", visitor)


WAYS: dict[str, type[Way]] = {
    "plain": PlainWay,
    "session": SessionWay,
    "simplejwt": SimpleJWTWay,
    "knox": KnoxWay,
    "ours": OurWay,
}
