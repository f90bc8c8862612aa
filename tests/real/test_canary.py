"""Secrets that are marked, a whole journey, and a search of everything that is left behind.

The code may be in the body of its one mail, our tokens in Set-Cookie headers, and nowhere else. Django's own table of
sessions holds Django's own session key (the admin's): that table is left out for that key alone.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import pytest
import redis

from tests.real.conftest import Deploy
from tests.real.deployment import Deployment, own_redis_database, postgres_dsn
from tests.real.search import holds, holds_code
from tests.real.visitor import CHALLENGE, DEVICE, OURS, REFRESH, Answer, Visitor

pytestmark = pytest.mark.services

PASSWORD = 'Canary-pä55word/&?=+%"\\ of the journey'
WRONG_PASSWORD = "Canary-mistyped-password"
DJANGO_SESSION = "sessionid"


# --- the search itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [PASSWORD, "rT5-_x0Qw1Zk9Lm3Np7Vb2Gh4Jd6Fs8A", "1234567890abcdefghij"])
def test_the_search_finds_what_is_planted(secret: str) -> None:
    plain = secret.encode()
    inside = b'{"before": 1, "secret": "' + plain + b'"}'
    heaps = [plain, inside, plain.hex().encode(), base64.b64encode(inside), base64.urlsafe_b64encode(b"xy" + inside)]
    heaps.append(b'{"body": "' + base64.b64encode(base64.b64encode(b"z" + inside)) + b'"}')
    for heap in heaps:
        assert holds(b"noise " + heap + b" noise", secret), heap
    assert not holds(b"noise " + base64.b64encode(b"something else") + b" noise", secret)


def test_the_search_finds_a_code_that_stands_alone() -> None:
    assert holds_code(b'{"code": "123456"}', "123456")
    assert holds_code(b'{"body": "' + base64.b64encode(b'[["123456"], {}]') + b'"}', "123456")
    assert not holds_code(b"2026-01-01 10:00:00.123456+00 id 9123456", "123456")


# --- the journey -------------------------------------------------------------------------------------


@dataclass
class Journey:
    """What was said and done, and where it may have left something."""

    site: Deployment
    result_backend: str
    secrets: dict[str, str | bytes] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    visitors: list[Visitor] = field(default_factory=list)

    def visitor(self) -> Visitor:
        visitor = self.site.visitor().arrive()
        self.visitors.append(visitor)
        return visitor


def queue_of(journey: Journey) -> bytes:
    """What waits in the broker. Nobody consumes now."""
    site = journey.site
    if site.broker_url.startswith("redis"):
        return contents(site.broker_url)
    return b"\n".join(
        repr((headers, properties)).encode() + b"\n" + body for headers, properties, body in site.messages()
    )


def contents(url: str) -> bytes:
    """Every key and raw value of a Redis database."""
    readers: dict[bytes, Callable[[redis.Redis, bytes], object]] = {
        b"string": lambda client, key: client.get(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"hash": lambda client, key: client.hgetall(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    }
    parts: list[bytes] = []
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            kind = client.type(key)
            if kind == b"none":  # it expired a moment ago
                continue
            value = readers[kind](client, key)
            parts += [key, value if isinstance(value, bytes) else flat(value)]
    return b"\n".join(parts)


def flat(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\n".join(flat(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"\n".join(map(flat, value))
    return str(value).encode()


def dump(site: Deployment, *without: str) -> bytes:
    options = [option for table in without for option in ("--exclude-table-data", table)]
    command = ["pg_dump", "--inserts", *options, postgres_dsn(site.database)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def travel(journey: Journey) -> None:
    """Sign in with all its mishaps, go on, be robbed, sign out; sign in to the admin; meet an error."""
    site = journey.site
    user = site.make_user("canary", password=PASSWORD)
    browser = journey.visitor()
    assert browser.login(user.email, WRONG_PASSWORD).problem == "invalid_credentials"
    assert browser.login(user.email, PASSWORD).status == 202
    journey.places["queue with a code to mail"] = queue_of(journey)
    assert browser.jar[CHALLENGE]

    site.post.treat(user.email).refuse = 1  # so that a failure of the task is on record too
    site.start_worker(level="DEBUG")
    (letter,) = site.post.wait_for(user.email)
    journey.codes["code"] = letter.code
    wrong = f"{(int(letter.code) + 1) % 10**6:06d}"
    assert browser.approve(wrong).problem == "otp_invalid"
    assert browser.approve(letter.code).status == 200
    assert browser.me().status == 200
    stolen = browser.copy()
    journey.visitors.append(stolen)
    assert browser.refresh().status == 200
    assert browser.me().status == 200

    # The successor is in use and the grace is over: whoever shows the first token now is a thief.
    site.end_grace(user)
    site.stop_workers()
    assert stolen.refresh().problem == "refresh_reused"
    assert browser.me().problem == "session_revoked"
    journey.places["queue with a notice to mail"] = queue_of(journey)
    site.start_worker(level="DEBUG")
    site.post.wait_for(user.email, count=2)

    assert DEVICE in browser.jar
    assert browser.login(user.email, PASSWORD).status == 200  # a trusted device now: no code
    assert browser.send("GET", "/api/auth/sessions/").status == 200
    assert browser.logout().status == 204

    visit_admin(journey)
    meet_errors(journey, browser, user.email)

    site.stop()
    journey.places["result backend"] = contents(journey.result_backend)
    journey.places["cache"] = contents(site.env["CACHE_URL"])
    journey.places["broker at the end"] = queue_of(journey)
    journey.places["database"] = dump(site)
    for program in site.programs:
        journey.places[f"log of {program.name}"] = program.log.encode()
        journey.places[f"command line of {program.name}"] = " ".join(program.command).encode()
    collect_secrets(journey)


def visit_admin(journey: Journey) -> None:
    site = journey.site
    boss = site.make_user("boss", password=PASSWORD, is_staff=True)
    browser = journey.visitor()
    page = browser.send("POST", "/admin/login/", form={"username": boss.email, "password": WRONG_PASSWORD})
    assert page.status == 200
    page = browser.send("POST", "/admin/login/", form={"username": boss.email, "password": PASSWORD})
    assert b"otp_code" in page.body
    (letter,) = site.post.wait_for(boss.email)
    journey.codes["admin's code"] = letter.code
    assert browser.send("POST", "/admin/login/", form={"otp_code": letter.code}).status == 302
    for model in ("otpchallenge", "session", "trusteddevice", "securityevent"):
        assert browser.send("GET", f"/admin/django_secure_auth/{model}/").status == 200, model
        pk = site.first_id(model)
        assert browser.send("GET", f"/admin/django_secure_auth/{model}/{pk}/change/").status == 200, model


def meet_errors(journey: Journey, browser: Visitor, email: str) -> None:
    """A defect in the middle of a request that carries secrets: a table that is not as expected."""
    site = journey.site
    site.rows("ALTER TABLE django_secure_auth_session RENAME TO hidden")
    for answer in (browser.login(email, PASSWORD), browser.me()):
        assert answer.status in (401, 500)
    assert browser.answers[-2].problem == "internal_error"
    admin = journey.visitors[-1]
    assert admin.send("GET", "/admin/django_secure_auth/session/").status == 500
    site.rows("ALTER TABLE hidden RENAME TO django_secure_auth_session")


def collect_secrets(journey: Journey) -> None:
    site = journey.site
    secrets = journey.secrets
    secrets |= {"password": PASSWORD, "mistyped password": WRONG_PASSWORD, "SECRET_KEY": site.secret_key}
    secrets |= {"signing key": site.signing_key, "encryption key": site.encryption_key}
    for name in ("signing key", "encryption key"):
        secrets[f"{name}, raw"] = base64.urlsafe_b64decode(f"{secrets[name]!s}=")
    for visitor in journey.visitors:
        journey.answers += visitor.answers
        for number, (name, value) in enumerate(visitor.cookies_seen):
            if name in OURS:
                secrets[f"{name} {number} of {visitor.address}"] = value
            if name in (CHALLENGE, DEVICE):
                secrets[f"{name} {number} of {visitor.address}, raw"] = base64.urlsafe_b64decode(value + "==")[:32]
            if name == REFRESH:
                secrets[f"{name} {number} of {visitor.address}, MAC"] = base64.urlsafe_b64decode(value + "==")[-36:-4]
            if name == DJANGO_SESSION:
                secrets[f"{name} {number}"] = value


BROKERS = ("redis", "amqp")


@pytest.fixture(scope="module")
def journeys(deploy: Deploy) -> Callable[[str], Journey]:
    return cache(lambda broker: start_journey(deploy, broker))


def start_journey(deploy: Deploy, broker: str) -> Journey:
    with own_redis_database() as results, own_redis_database() as shared:
        site: Deployment = deploy(broker, CELERY_RESULT_BACKEND=results, CACHE_URL=shared, STATE_CACHE="default")
        site.start_web()
        journey = Journey(site, results)
        travel(journey)
        return journey


@pytest.fixture(params=BROKERS)
def journey(request: pytest.FixtureRequest, journeys: Callable[[str], Journey]) -> Journey:
    return journeys(request.param)


def found_in(journey: Journey, heap: bytes, *, besides: str = "") -> list[str]:
    """The names of the secrets that a heap holds."""
    found = [name for name, secret in journey.secrets.items() if not (besides and name.startswith(besides))]
    found = [name for name in found if holds(heap, journey.secrets[name])]
    return found + [name for name, code in journey.codes.items() if holds_code(heap, code)]


def test_the_places_hold_what_they_should(journey: Journey) -> None:
    """Without this, a search of nothing would find nothing."""
    places, challenge_id = journey.places, journey.site.first_id("otpchallenge")
    assert holds(places["queue with a code to mail"], challenge_id)
    assert holds(places["queue with a code to mail"], "expires")
    assert holds(places["queue with a notice to mail"], "send_notice")
    assert challenge_id.encode() in places["database"]
    assert b"argon2" in places["database"]
    assert b"POST /api/auth/login/" in places["log of web-0"]
    for number in (0, 1):
        assert b"DEBUG/MainProcess" in places[f"log of worker-{number}"]
        assert b"received" in places[f"log of worker-{number}"]
    assert b"SMTPDataError" in places["log of worker-0"]
    assert places["cache"]
    kinds = {name.split()[0] for name in journey.secrets}
    assert {*OURS, DJANGO_SESSION, "password", "SECRET_KEY", "signing", "encryption"} <= kinds
    assert len(journey.codes) == 2


def test_no_secret_is_left_in_any_place(journey: Journey) -> None:
    found = {
        place: names
        for place, heap in journey.places.items()
        if (names := found_in(journey, heap, besides=DJANGO_SESSION if place == "database" else ""))
    }
    assert found == {}
    assert found_in(journey, dump(journey.site, "django_session")) == []


def test_the_result_backend_stays_empty(journey: Journey) -> None:
    assert journey.places["result backend"] == b""


def test_no_answer_shows_a_secret_but_in_its_cookie(journey: Journey) -> None:
    assert {answer.status for answer in journey.answers} >= {200, 202, 204, 302, 401, 500}
    for answer in journey.answers:
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers if name.lower() != "set-cookie")
        assert found_in(journey, answer.body + b"\n" + headers.encode()) == [], answer


def test_no_cookie_holds_the_secret_of_another(journey: Journey) -> None:
    """Set-Cookie headers hold tokens; never a password, a code or a key."""
    lasting = {name: value for name, value in journey.secrets.items() if name.split()[0] not in {*OURS, DJANGO_SESSION}}
    cookies = "\n".join(
        value for answer in journey.answers for name, value in answer.headers if name.lower() == "set-cookie"
    ).encode()
    assert [name for name, secret in lasting.items() if holds(cookies, secret)] == []


def test_a_code_is_in_the_body_of_its_one_mail_only(journey: Journey) -> None:
    letters = journey.site.post.letters
    assert len(letters) == 3  # two codes, one notice
    for letter in letters:
        message = letter.message
        headers = "\n".join(f"{name}: {value}" for name, value in message.items())
        parts = "\n".join(
            str(part.get_content()) + "\n" + "\n".join(f"{name}: {value}" for name, value in part.items())
            for part in message.walk()
            if not part.is_multipart()
        )
        assert found_in(journey, headers.encode()) == []
        mine = [name for name, code in journey.codes.items() if code in parts]
        assert len(mine) == (1 if "Code:" in parts else 0)
        assert found_in(journey, parts.encode()) == mine


def test_a_page_for_developers_shows_no_key(deploy: Deploy) -> None:
    """DEBUG=1: Django's error page shows a request's own values to its own developer, but no key of the server."""
    site: Deployment = deploy("redis", DEBUG="1", HTTPS_ONLY="0", TRUSTED_PROXIES="0")
    site.start_web()
    visitor = site.visitor()
    visitor.secure = False
    visitor.arrive()
    user = site.make_user("canary", password=PASSWORD, is_staff=True)
    site.rows("ALTER TABLE django_secure_auth_otpchallenge RENAME TO hidden")
    page = visitor.send("POST", "/admin/login/", form={"username": user.email, "password": PASSWORD})
    answer = visitor.login(user.email, PASSWORD)
    assert page.status == answer.status == 500
    assert b"ProgrammingError" in page.body
    for secret in (site.secret_key, site.signing_key, site.encryption_key):
        assert not holds(page.body, secret)
    assert answer.problem == "internal_error"
    for secret in (PASSWORD, site.secret_key, site.signing_key, site.encryption_key):
        assert not holds(answer.body, secret)
    assert not any(holds(program.log.encode(), PASSWORD) for program in site.programs)
