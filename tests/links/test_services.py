"""A link: who mails it, what becomes of it when nobody can, and what kills it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import Task
from celery.exceptions import Retry
from django.core import mail
from django.test import RequestFactory

from django_secure_auth.addresses.tasks import send_undo
from django_secure_auth.links import services as links
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.policy import token_of
from django_secure_auth.links.tasks import MAX_RETRIES
from django_secure_auth.recovery.services import request_reset
from django_secure_auth.recovery.tasks import send_reset
from tests.browser import Browser, code_of, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def _base_url(configure: Configure) -> None:
    configure(BASE_URL="https://app.example/")


def a_link(purpose: str = "x", **values: Any) -> MailedLink:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT="Firefox/128.0 (Linux)")
    return links.make(purpose, request=request, email="ana@example.com", lifetime=timedelta(hours=1), **values)


def away(settings: Any) -> None:
    backend = "tests.stories.mailers.AwayBackend"
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


def test_a_link_is_named_by_its_id_alone() -> None:
    link = a_link()
    token = token_of(link)
    assert token is not None
    assert len(token) >= 43
    assert str(link) == f"link {link.pk}"
    assert token not in str(vars(link))


def test_a_token_is_of_its_row_its_purpose_and_what_it_is_bound_to() -> None:
    user = make_user()
    link = a_link(user=user)
    tokens = {token_of(link)}
    for name, value in {"purpose": "y", "nonce": "0" * 32, "bound_to": "z"}.items():
        changed = MailedLink.objects.get()
        setattr(changed, name, value)
        tokens.add(token_of(changed))
    assert len(tokens) == 4
    token = str(token_of(link))
    assert links.judge("x", uid=str(link.pk), token=token) == link
    assert links.judge("y", uid=str(link.pk), token=token) is None


def test_a_broker_that_is_away_leaves_no_open_link_and_uses_up_no_limit(
    browser: Browser, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user()
    configure(MAIL_DELIVERY="celery", RATE_LIMITS={"password_reset": "2/h"})

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionRefusedError("the broker is away")

    with monkeypatch.context() as patch:
        patch.setattr(send_reset, "apply_async", refuse)
        for email in ("ana@example.com", "nobody@example.com"):
            answers = [browser.post("password-reset", {"email": email}) for _ in range(4)]
            assert [code_of(answer) for answer in answers] == ["delivery_unavailable"] * 4
    assert not MailedLink.objects.open().exists()
    assert {link.closed_reason for link in MailedLink.objects.all()} == {"undelivered"}
    assert len(named("authn_link_undelivered")) == 8
    configure(MAIL_DELIVERY="inline", RATE_LIMITS={"password_reset": "2/h"})
    assert browser.post("password-reset", {"email": "ana@example.com"}).status_code == 202


def test_a_mail_server_that_is_away_tells_nobody_who_has_an_account(browser: Browser, settings: Any) -> None:
    make_user()
    away(settings)
    for email in ("ana@example.com", "nobody@example.com"):
        assert browser.post("password-reset", {"email": email}).status_code == 202
    assert [event.details["reason"] for event in named("authn_link_undelivered")] == ["mail"]


def test_a_worker_tries_again_and_gives_up_in_the_end(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_user()
    link = a_link("password_reset")
    away(settings)
    waits: list[float] = []

    def retry(self: Task[Any, Any], *, exc: Exception, countdown: float) -> Retry:
        waits.append(countdown)
        return Retry("again")

    monkeypatch.setattr(Task, "retry", retry)
    for number in range(MAX_RETRIES + 1):
        send_reset.push_request(is_eager=False, retries=number)
        try:
            send_reset.run(str(link.pk))
        except Retry:
            continue
        finally:
            send_reset.pop_request()
    assert waits == [1, 2, 4, 8, 16, 32]
    assert len(named("authn_link_undelivered")) == 1
    assert MailedLink.objects.open().exists()  # the user may ask again; nothing is half-done


def test_a_link_whose_key_is_gone_is_not_mailed(settings: Any) -> None:
    make_user()
    link = a_link("password_reset")
    settings.SECRET_KEY = "another secret of more than fifty characters, which nobody knows"
    send_reset(str(link.pk))
    assert not mail.outbox
    assert links.judge("password_reset", uid=str(link.pk), token="x") is None


def test_what_is_no_open_link_is_not_mailed() -> None:
    link = a_link("password_reset")
    MailedLink.objects.all().close("used")
    for task in (send_reset, send_undo):
        task(str(link.pk))
    assert not mail.outbox


def test_a_binding_that_is_mailed_is_not_bound_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account has changed between two deliveries: the mail that is out holds the token of the first."""
    make_user()
    link = a_link("password_reset")
    MailedLink.objects.update(bound_to="of another state")
    send_reset(str(link.pk))
    assert not mail.outbox
    assert MailedLink.objects.get().bound_to == "of another state"


def test_a_link_is_used_once() -> None:
    link = a_link()
    assert [links.use(link), links.use(link)] == [True, False]


def test_the_request_finds_its_base_url_with_or_without_a_slash() -> None:
    make_user()
    request_reset(RequestFactory().post("/", REMOTE_ADDR="192.0.2.1"), email="ana@example.com")
    assert "https://app.example/reset-password/#uid=" in str(mail.outbox[-1].body)
