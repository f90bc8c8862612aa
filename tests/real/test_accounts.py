"""The life of an account over a real worker and a real mail server, on PostgreSQL and Redis."""

from __future__ import annotations

import re
from secrets import token_hex

import pytest

from tests.real.conftest import Deploy
from tests.real.deployment import Deployment
from tests.real.postoffice import Letter
from tests.real.visitor import Visitor

pytestmark = pytest.mark.services
PASSWORD, NEW = "correct horse battery staple", "another long pass phrase"


@pytest.fixture(scope="module")
def site(deploy: Deploy) -> Deployment:
    made = deploy("redis")
    made.start_web()
    made.have_worker()
    return made


def last_letter(site: Deployment, email: str, count: int = 1) -> Letter:
    return site.post.wait_for(email, count=count)[-1]


def link_in(letter: Letter) -> dict[str, str]:
    found = re.search(r"https://app\.example\.com/[\w-]+/#uid=([^&\s]+)&token=(\S+)", letter.part("plain"))
    assert found is not None, letter.part("plain")
    assert found[2] in letter.part("html")
    return {"uid": found[1], "token": found[2]}


def registered(site: Deployment) -> tuple[Visitor, str]:
    email = f"{token_hex(8)}@example.com"
    visitor = site.visitor().arrive()
    asked = visitor.post("register", {"email": email, "password": PASSWORD})
    assert asked.status == 202, asked
    code = last_letter(site, email).code
    assert visitor.post("register/verify", {"otp_code": code}).status == 200
    return visitor, email


def test_an_account_is_opened_and_its_owner_is_told_of_a_second_try(site: Deployment) -> None:
    visitor, email = registered(site)
    assert visitor.me().json()["email"] == email
    other = site.visitor("203.0.113.9").arrive()
    asked = other.post("register", {"email": email, "password": PASSWORD})
    assert asked.status == 202
    letter = last_letter(site, email, 2)
    assert "already" in letter.part("plain")
    assert not re.search(r"\b\d{6}\b", letter.part("plain"))


def test_a_forgotten_password_is_reset(site: Deployment) -> None:
    visitor, email = registered(site)
    stranger = site.visitor("203.0.113.9").arrive()
    assert stranger.post("password/reset", {"email": email.upper()}).status == 202
    given = link_in(last_letter(site, email, 2))
    assert stranger.post("password/reset/confirm", {**given, "new_password": NEW}).status == 204
    assert visitor.me().problem == "session_revoked"
    assert stranger.post("password/reset/confirm", {**given, "new_password": NEW}).problem == "reset_invalid"
    assert "was reset by a link" in last_letter(site, email, 3).part("plain")
    asked = stranger.login(email, NEW)
    assert asked.status == 202  # no device is trusted any more
    assert stranger.approve(last_letter(site, email, 4).code).status == 200


def test_an_address_is_changed_and_taken_back(site: Deployment) -> None:
    visitor, email = registered(site)
    new = f"{token_hex(8)}@example.com"
    assert visitor.post("email/change", {"new_email": new}).status == 202
    assert visitor.approve(last_letter(site, new).code).status == 200
    assert visitor.me().json()["email"] == new
    given = link_in(last_letter(site, email, 2))
    owner = site.visitor("203.0.113.9").arrive()
    assert owner.post("email/undo", given).status == 204
    assert visitor.me().problem == "session_revoked"
    assert owner.post("password/reset", {"email": email}).status == 202
    assert link_in(last_letter(site, email, 3))


def test_whoever_is_signed_in_changes_the_password_and_proves_it_again(site: Deployment) -> None:
    visitor, _ = registered(site)
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert visitor.post("password/change", body).status == 204
    assert visitor.me().status == 200
    assert visitor.post("reauthenticate", {"password": PASSWORD}).problem == "invalid_credentials"
    assert visitor.post("reauthenticate", {"password": NEW}).status == 200


def test_no_link_or_code_stands_in_the_broker_the_database_or_a_log(site: Deployment) -> None:
    _, email = registered(site)
    stranger = site.visitor("203.0.113.9").arrive()
    stranger.post("password/reset", {"email": email})
    token = link_in(last_letter(site, email, 2))["token"]
    logs = "".join(path.read_text(errors="replace") for path in site.folder.rglob("*.log"))
    assert logs
    assert token not in logs
