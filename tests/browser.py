"""A browser for the tests: Django's client over https, with CSRF enforced, a Referer, and a jar that forgets.

Whatever is reached by name works under any mount point; `make_user` works for any user model.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from http.cookies import Morsel
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.conf import conf
from django_secure_auth.kit.cookies import cookie_name
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import latest_code

PASSWORD = "correct horse battery staple"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def make_user(email: str = "ana@example.com", password: str = PASSWORD, **flags: Any) -> Any:
    """Return a saved user of whatever model the project has."""
    model = get_user_model()
    values: dict[str, Any] = {model.get_email_field_name(): email, **flags}
    if model.USERNAME_FIELD not in values:
        values[model.USERNAME_FIELD] = f"user-{secrets.token_hex(6)}"
    user = model(**values)
    user.set_password(password)
    user.save()
    return user


def make_staff(email: str = "root@example.com", password: str = PASSWORD, **flags: Any) -> Any:
    return make_user(email, password, is_staff=True, is_superuser=True, **flags)


def change_user(user: Any, **values: Any) -> None:
    """Change a user as the admin or a shell does: load, set, save. `password` is hashed."""
    fresh = get_user_model()._default_manager.get(pk=user.pk)
    if "password" in values:
        fresh.set_password(values.pop("password"))
    for name, value in values.items():
        setattr(fresh, name, value)
    fresh.save()


def url(name: str, *args: Any) -> str:
    return reverse(f"secure_auth:{name}", args=args)


def cookie(kind: str) -> str:
    return cookie_name(conf.COOKIE_PREFIX, kind, secure=conf.COOKIE_SECURE)


def code_of(response: Any) -> str:
    return str(response.json()["code"])


def named(event: str) -> list[SecurityEvent]:
    """Return the rows of one event, oldest first."""
    return list(SecurityEvent.objects.filter(event=event).order_by("id"))


def last_code() -> str:
    return latest_code(mail.outbox)


def wrong_code() -> str:
    """A code of the right form that is not the last one sent."""
    right = last_code()
    return right[:-1] + str((int(right[-1]) + 1) % 10)


class Browser:
    """One browser: cookies, a CSRF token, an address. Calls return the response."""

    def __init__(self, *, address: str = "192.0.2.1", user_agent: str = FIREFOX, secure: bool = True) -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=address, HTTP_USER_AGENT=user_agent)
        self.secure = secure
        self.token = ""

    @property
    def origin(self) -> str:
        return f"{'https' if self.secure else 'http'}://testserver"

    def request(
        self, method: str, path: str, body: Any = None, *, csrf: bool = True, headers: dict[str, str] | None = None
    ) -> Any:
        """Send a request as a script on our own page would; `csrf=False` leaves the token out."""
        sent = {"Referer": f"{self.origin}/", **(headers or {})}
        if csrf and method not in {"GET", "HEAD", "OPTIONS"}:
            sent["X-CSRF-Token"] = self.token or self.csrf()
        content: dict[str, Any] = {}
        if isinstance(body, str | bytes):
            content = {"data": body, "content_type": "application/json"}
        elif body is not None:
            content = {"data": json.dumps(body), "content_type": "application/json"}
        response = self.client.generic(method, path, secure=self.secure, headers=sent, **content)
        self._absorb(response)
        return response

    def _absorb(self, response: Any) -> None:
        # Django's client keeps cookies that a browser would have deleted, and takes the slots of deletions on other
        # paths for cookies.
        for slot, morsel in response.cookies.items():
            if slot != morsel.key or morsel["max-age"] in (0, "0"):
                self.client.cookies.pop(slot, None)

    def get(self, name: str, *args: Any, **extra: Any) -> Any:
        return self.request("GET", url(name, *args), **extra)

    def post(self, name: str, body: Any = None, **extra: Any) -> Any:
        """`body`: an object, raw text or bytes, or nothing at all."""
        return self.request("POST", url(name), body, **extra)

    def patch(self, name: str, body: Any, **extra: Any) -> Any:
        return self.request("PATCH", url(name), body, **extra)

    def delete(self, name: str, *args: Any, **extra: Any) -> Any:
        return self.request("DELETE", url(name, *args), **extra)

    def form(self, path: str, data: dict[str, Any], *, csrf: bool = True) -> Any:
        """Send an HTML form, as the admin's pages do."""
        sent = {"Referer": f"{self.origin}/"}
        if csrf:
            sent["X-CSRF-Token"] = self.csrf()  # anew: Django's own sign-in rotates it
        response = self.client.post(path, data, secure=self.secure, headers=sent)
        self._absorb(response)
        return response

    def page(self, path: str) -> Any:
        response = self.client.get(path, secure=self.secure, headers={"Referer": f"{self.origin}/"})
        self._absorb(response)
        return response

    # --- the stories

    def csrf(self) -> str:
        self.token = str(self.get("csrf").json()["csrf_token"])
        return self.token

    def login(self, email: str = "ana@example.com", password: str = PASSWORD, **extra: Any) -> Any:
        body = {"email": email, "password": password}
        if "remember_me" in extra:
            body["remember_me"] = extra.pop("remember_me")
        return self.post("login", body, **extra)

    def approve(self, code: str | None = None, **extra: Any) -> Any:
        """Send a code; without one, the code of the newest mail."""
        return self.post("otp-approve", {"otp_code": last_code() if code is None else code}, **extra)

    def sign_in(self, email: str = "ana@example.com", password: str = PASSWORD, **extra: Any) -> Any:
        """Password, and the mailed code where one is asked for; asserts that it worked."""
        response = self.login(email, password, **extra)
        if response.status_code == 202:
            response = self.approve()
        assert response.status_code == 200, response.content
        return response

    def refresh(self, **extra: Any) -> Any:
        return self.post("refresh", **extra)

    def resend(self, **extra: Any) -> Any:
        return self.post("otp-resend", **extra)

    def logout(self, **extra: Any) -> Any:
        return self.post("logout", **extra)

    def me(self, **extra: Any) -> Any:
        return self.get("me", **extra)

    # --- the jar

    def value(self, kind: str) -> str:
        """Return the value of one of our cookies; KeyError when there is none."""
        return str(self.client.cookies[cookie(kind)].value)

    def has(self, kind: str) -> bool:
        return cookie(kind) in self.client.cookies

    def put(self, kind: str, value: str) -> None:
        self.client.cookies[cookie(kind)] = value

    def drop(self, kind: str) -> None:
        del self.client.cookies[cookie(kind)]

    def copy(self, *kinds: str) -> Browser:
        """Return another browser that holds copies of these cookies: a second tab, or a thief."""
        other = Browser(secure=self.secure)
        for kind in kinds or ("access", "refresh", "challenge", "device"):
            if self.has(kind):
                other.put(kind, self.value(kind))
        return other


def set_cookies(response: Any) -> dict[str, Morsel[str]]:
    """Return the cookies that a response sets, without those that it deletes."""
    return {
        morsel.key: morsel
        for morsel in response.cookies.values()
        if morsel["max-age"] not in (0, "0") and "01 Jan 1970" not in str(morsel["expires"])
    }


def cleared(response: Any) -> set[tuple[str, str]]:
    """Return name and path of the cookies that a response deletes."""
    return {(morsel.key, morsel["path"]) for morsel in response.cookies.values() if morsel["max-age"] in (0, "0")}


def session_of(response: Any) -> Session:
    """Return the row of the session that an answer opened or refreshed."""
    return Session.objects.get(pk=response.json()["session"]["id"])


def is_signed_in(browser: Browser) -> bool:
    return bool(browser.me().status_code == 200)


def trust(browser: Browser, user: Any) -> None:
    """Make the browser a device of the user's by the real way: sign in with a code, then out."""
    browser.sign_in(getattr(user, user.get_email_field_name()))
    browser.logout()
    assert TrustedDevice.objects.for_user(user).exists()


def admin_browser(email: str = "root@example.com", *, user: Any = None) -> Browser:
    """Return a browser in which staff, or a new superuser, have signed in to the admin."""
    user = user or make_staff(email)
    root = Browser(address="203.0.113.5")
    root.form(reverse("admin:login"), {"username": user.get_username(), "password": PASSWORD})
    response = root.form(reverse("admin:login"), {"otp_code": last_code()})
    assert response.status_code == 302, response.content
    return root


class Clock:
    """Time that a test moves: what `timezone.now()` and `time.time()` say, and with it the local cache's expiry."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta(0)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.offset.total_seconds())
        monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(time.time(), UTC))

    def forward(self, by: timedelta | None = None, **parts: float) -> None:
        """Move on by a duration: `clock.forward(minutes=31)`."""
        self.offset += by if by is not None else timedelta(**parts)
