"""One action is approved with a code that a worker has mailed: on PostgreSQL and Redis, by decorator and permission."""

from __future__ import annotations

import pytest

from tests.real.conftest import Deploy
from tests.real.deployment import Deployment
from tests.real.visitor import Answer, Visitor

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def site(deploy: Deploy) -> Deployment:
    made = deploy("redis", DJANGO_SETTINGS_MODULE="tests.real.approval_settings")
    made.start_web()
    made.have_worker()
    return made


def pay(visitor: Visitor, door: str, amount: int, code: str = "") -> Answer:
    visitor.more = {"X-Approval-Code": code} if code else {}
    return visitor.send("POST", f"/api/{door}/", {"to": "Ben <b>", "amount": amount})


@pytest.mark.parametrize("door", ["pay", "transfer"])
def test_a_mailed_code_is_good_for_what_its_mail_names(site: Deployment, door: str) -> None:
    user = site.make_user()
    visitor = site.sign_in(user)
    asked = pay(visitor, door, 100)
    assert (asked.status, asked.json()["status"]) == (202, "otp_required")
    letter = site.post.wait_for(user.email, count=2)[-1]
    said = "\n".join(letter.part("plain").splitlines())
    assert f"approve an action: {door}\n  to: Ben <b>\n  amount: 100" in said
    assert "Ben &lt;b&gt;" in letter.part("html")
    assert pay(visitor, door, 101, letter.code).problem == "challenge_invalid"
    done = pay(visitor, door, 100, letter.code)
    assert (done.status, done.json()) == (200, {"paid": 100})
    assert pay(visitor, door, 100, letter.code).problem == "challenge_invalid"
    assert site.events(user, "authn_action_approved") == 1
