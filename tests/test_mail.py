"""Mail: which way it leaves, what happens when that way is closed, and what a letter may hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import celery._state
import pytest
from celery import Celery, shared_task
from django.core import mail
from django.test import override_settings

from django_secure_auth.exceptions import DeliveryUnavailable
from django_secure_auth.mail import deliver, send_templated, site_name, uses_celery

EXPIRES = timedelta(minutes=5)
ran: list[str] = []


@shared_task(name="tests.mail.note", ignore_result=True)
def note(one_id: str) -> None:
    ran.append(one_id)


@shared_task(name="tests.mail.fail", ignore_result=True)
def fail(one_id: str) -> None:
    raise OSError("the mail server is away")


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app of this test's own, current while it runs, without a broker."""
    thread: Any = vars(celery._state)["_tls"]
    before = thread.current_app
    made = Celery("tests-of-mail", set_as_current=True)
    yield made
    made.close()
    thread.current_app = before


def delivery(value: str) -> Any:
    return override_settings(DJANGO_SECURE_AUTH={"MAIL_DELIVERY": value})


# --- which way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "broker", "used"),
    [
        ("auto", {}, False),
        ("auto", {"broker_url": "redis://127.0.0.1:1"}, True),
        ("auto", {"broker_write_url": "redis://127.0.0.1:1"}, True),
        ("auto", {"task_always_eager": True}, True),
        ("celery", {}, True),
        ("inline", {"broker_url": "redis://127.0.0.1:1"}, False),
    ],
)
def test_mail_leaves_through_celery_when_there_is_a_broker_or_when_told_so(
    how: str, broker: dict[str, Any], used: bool, app: Celery
) -> None:
    app.conf.update(broker)
    with delivery(how):
        assert uses_celery() is used


@pytest.mark.parametrize("how", ["inline", "auto"])
def test_without_a_broker_the_task_runs_in_process(how: str, app: Celery) -> None:
    with delivery(how):
        deliver(note, "an id", expires=EXPIRES)
    assert ran == ["an id"]


def test_an_eager_celery_runs_it_too(app: Celery) -> None:
    app.conf.task_always_eager = True
    with delivery("celery"):
        deliver(note, "an id", expires=EXPIRES)
    assert ran == ["an id"]


def test_a_broker_gets_the_id_and_the_time_after_which_it_is_worthless(app: Celery) -> None:
    app.conf.update(broker_url="memory://", task_default_queue=str(uuid4()))
    with delivery("auto"):
        deliver(note, "an id", expires=EXPIRES)
    assert ran == []
    with app.connection_for_read() as connection, connection.SimpleQueue(app.conf.task_default_queue) as queue:
        message = queue.get(timeout=5)
        message.ack()
    headers: dict[str, Any] = message.headers
    assert headers["task"] == "tests.mail.note"
    assert headers["argsrepr"] == "('an id',)"
    assert headers["expires"] is not None
    assert headers["ignore_result"] is True
    assert message.content_type == "application/json"


# --- when it is closed -------------------------------------------------------------------------------


@pytest.mark.control("ASVS-16.5.2")
@pytest.mark.parametrize("how", ["celery", "auto"])
def test_a_broker_that_is_away_is_told_at_once(how: str, app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    app.conf.update(broker_url="redis://127.0.0.1:1/0")
    started = time.monotonic()
    with delivery(how), pytest.raises(DeliveryUnavailable):
        deliver(note, "an id", expires=EXPIRES)
    assert time.monotonic() - started < 3
    assert ran == []
    assert "tests.mail.note could not be handed over" in caplog.text
    assert "an id" not in caplog.text


@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize("how", ["inline", "celery"])
def test_a_mail_server_that_is_away_is_told_where_the_task_runs_here(how: str, propagates: bool, app: Celery) -> None:
    app.conf.update(task_always_eager=True, task_eager_propagates=propagates)
    with delivery(how), pytest.raises(DeliveryUnavailable):
        deliver(fail, "an id", expires=EXPIRES)


def test_a_worker_that_will_fail_is_not_waited_for(app: Celery) -> None:
    app.conf.update(broker_url="memory://", task_default_queue=str(uuid4()))
    with delivery("celery"):
        deliver(fail, "an id", expires=EXPIRES)


# --- letters -----------------------------------------------------------------------------------------

TEMPLATES = {
    "django_secure_auth/mail/letter.subject.txt": "\n  Hello {{ name|safe }}\n\n of {{ site_name }}\n",
    "django_secure_auth/mail/letter.txt": "{% autoescape off %}{{ name }} at {{ base_url }}{% endautoescape %}",
    "django_secure_auth/mail/letter.html": "{% load i18n %}<p>{{ name }}</p>{% get_current_language as l %}{{ l }}",
}


@pytest.fixture
def letters(settings: Any) -> Any:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)]},
        }
    ]
    return settings


def the_letter() -> Any:
    (message,) = mail.outbox
    return message


@pytest.mark.usefixtures("letters")
def test_a_letter_is_text_with_html_beside_it_to_one_address() -> None:
    send_templated("letter", to="ana@example.com", context={"name": "<Ana>"})
    letter = the_letter()
    assert letter.body == "<Ana> at None"
    ((html, kind),) = letter.alternatives
    assert kind == "text/html"
    assert html.startswith("<p>&lt;Ana&gt;</p>")
    assert letter.to == letter.recipients() == ["ana@example.com"]
    assert letter.from_email == "no-reply@example.com"
    parts = [part.get_content_type() for part in letter.message().walk()]
    assert parts == ["multipart/alternative", "text/plain", "text/html"]


def test_the_sender_and_the_site_are_settings(letters: Any) -> None:
    letters.DJANGO_SECURE_AUTH = {"MAIL_FROM": "auth@example.org", "BASE_URL": "https://shop.example.org/app"}
    send_templated("letter", to="ana@example.com", context={"name": "Ana"})
    assert the_letter().from_email == "auth@example.org"
    assert the_letter().subject == "Hello Ana of shop.example.org"
    assert the_letter().body == "Ana at https://shop.example.org/app"


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        ({}, "django-secure-auth"),
        ({"ISSUER": "The Shop"}, "The Shop"),
        ({"BASE_URL": "https://shop.example.org:8443/app"}, "shop.example.org"),
    ],
)
def test_the_site_has_a_name_of_its_own_never_the_host_header(ours: dict[str, str], name: str, settings: Any) -> None:
    """R44: no letter names what a request claimed to be its host."""
    settings.DJANGO_SECURE_AUTH = ours
    assert site_name() == name


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(("language", "shown"), [("de", "de"), (None, "en-us")])
def test_a_letter_is_in_its_readers_language(language: str | None, shown: str) -> None:
    send_templated("letter", to="ana@example.com", context={"name": "Ana"}, language=language)
    assert the_letter().alternatives[0][0].endswith(shown)


@pytest.mark.control("ASVS-1.3.11")
@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("hostile", ["Ana\nBcc: eve@example.net", "Ana\r\n\r\nNew body", "Ana\x0bX: y", "a\u2028b: c"])
def test_a_subject_is_one_line_whatever_is_in_it(hostile: str) -> None:
    send_templated("letter", to="ana@example.com", context={"name": hostile})
    letter = the_letter()
    assert len(letter.subject.splitlines()) == 1
    message = letter.message()
    assert message["Bcc"] is None
    assert message["X"] is None
    assert letter.recipients() == ["ana@example.com"]


@pytest.mark.control("ASVS-1.3.11")
@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("hostile", ["ana@example.com\nBcc: eve@example.net", "ana@example.com\r\nX: y"])
def test_an_address_adds_no_header(hostile: str) -> None:
    with pytest.raises(ValueError, match="[Hh]eader|newline|line"):
        send_templated("letter", to=hostile, context={"name": "Ana"})
    assert mail.outbox == []


@pytest.mark.control("ASVS-1.3.7")
@pytest.mark.usefixtures("letters")
def test_what_users_wrote_is_no_template() -> None:
    send_templated("letter", to="ana@example.com", context={"name": "{{ 7|add:7 }}{% now 'Y' %}"})
    assert the_letter().subject.startswith("Hello {{ 7|add:7 }}{% now 'Y' %}")
    assert "{{ 7|add:7 }}" in the_letter().body


class AChallenge:
    device_label = "Firefox on <Linux> & co"
    ip_address: str | None = None


@pytest.mark.control("ASVS-1.2.1")
@pytest.mark.parametrize(
    ("template", "context"),
    [
        ("otp_code", {"code": "123456", "challenge": AChallenge, "minutes": 5}),
        ("password_reset", {"asked": AChallenge, "link": "/reset/", "minutes": 30}),
    ],
)
def test_our_own_letters_are_escaped_where_they_are_html_and_nowhere_else(
    template: str, context: dict[str, Any], settings: Any
) -> None:
    settings.DJANGO_SECURE_AUTH = {"ISSUER": "Ana & Ben's <shop>"}
    send_templated(template, to="ana@example.com", context=context)
    letter = the_letter()
    assert "Ana & Ben's <shop>" in letter.subject
    assert "Firefox on <Linux> & co" in letter.body
    assert "&amp;" not in letter.body
    html = letter.alternatives[0][0]
    assert "Ana &amp; Ben&#x27;s &lt;shop&gt;" in html
    assert "Firefox on &lt;Linux&gt; &amp; co" in html
    assert "<shop>" not in html
    assert "http" not in html.replace('<html lang="', "")
