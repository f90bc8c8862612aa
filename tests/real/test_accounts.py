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
    told = last_letter(site, new, 2)
    assert "was changed to this one" in told.part("plain")
    assert link_in(told)
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


def test_a_password_that_others_know_is_changed_before_anything_else(site: Deployment) -> None:
    visitor, email = registered(site)
    (user_id,) = site.one("SELECT id FROM auth_user WHERE email = %s", email)
    admin, _ = site.enter_admin()
    form = {"user": str(user_id), "reason": "leaked"}
    assert admin.send("POST", "/admin/django_secure_auth/compromisedpassword/add/", form=form).status == 302
    assert visitor.me().problem == "session_revoked"
    letter = last_letter(site, email, 2)
    assert "is known to others" in letter.part("plain")
    again = site.visitor("203.0.113.9").arrive()
    assert again.login(email, PASSWORD).problem == "password_change_required"
    given = link_in(last_letter(site, email, 3))
    assert again.post("password/reset/confirm", {**given, "new_password": NEW}).status == 204
    asked = again.login(email, NEW)
    assert asked.status == 202
    assert again.approve(last_letter(site, email, 5).code).status == 200


def test_an_account_is_closed_kept_by_its_owner_and_closed_for_good(site: Deployment) -> None:
    visitor, email = registered(site)
    (user_id,) = site.one("SELECT id FROM auth_user WHERE email = %s", email)
    exported = visitor.send("GET", "/api/auth/me/export/").json()
    assert exported["account"]["email"] == email
    assert exported["activity"]
    assert visitor.send("DELETE", "/api/auth/me/").status == 204
    assert visitor.me().status == 401
    assert "going to be closed" in last_letter(site, email, 2).part("plain")
    assert visitor.login(email, PASSWORD).status == 202
    assert visitor.approve(last_letter(site, email, 3).code).status == 200
    asked_for = "UPDATE django_secure_auth_accountclosing SET closes_at = now() - interval '1 day' WHERE user_id = %s"
    site.rows(asked_for, user_id)
    site.manage("secure_auth_purge")
    assert site.count("accountclosing", "user_id = %s", user_id) == 0, "signing in has kept it"
    assert visitor.me().status == 200

    assert visitor.send("DELETE", "/api/auth/me/").status == 204
    site.rows(asked_for, user_id)
    site.manage("secure_auth_purge")
    assert site.rows("SELECT 1 FROM auth_user WHERE id = %s", user_id) == []
    assert site.count("securityevent", "user_id = %s", str(user_id)) <= 1, "the trail is nobody's now"
    assert visitor.login(email, PASSWORD).problem == "invalid_credentials"


def test_a_device_is_trusted_no_more_and_trusted_again(site: Deployment) -> None:
    visitor, email = registered(site)
    (row,) = visitor.send("GET", "/api/auth/devices/").json()["results"]
    assert (row["trusted"], row["current"]) == (True, True)
    assert visitor.send("DELETE", f"/api/auth/devices/{row['id']}/").status == 204
    assert visitor.post("devices").status == 202
    assert visitor.approve(last_letter(site, email, 2).code).status == 200
    (row,) = visitor.send("GET", "/api/auth/devices/").json()["results"]
    assert row["trusted"] is True
    visitor.logout()
    assert visitor.login(email, PASSWORD).status == 200


def test_staff_sign_in_as_a_user_and_the_trail_names_both(site: Deployment) -> None:
    _, email = registered(site)
    (user_id,) = site.one("SELECT id FROM auth_user WHERE email = %s", email)
    admin, boss = site.enter_admin()
    form = {"user": str(user_id), "reason": "Ticket 4711: empty basket", "password": boss.password}
    assert admin.send("POST", "/admin/django_secure_auth/impersonation/add/", form=form).status == 302
    me = admin.me().json()
    assert (me["email"], me["impersonation"]["by"]["name"]) == (email, boss.email)
    assert admin.send("DELETE", "/api/auth/me/").problem == "impersonation_refused"
    assert admin.logout().status == 204
    condition = "user_id = %s AND actor_id = %s AND event IN ('user_impersonated', 'authz_fail', 'authn_token_revoked')"
    assert site.count("securityevent", condition, str(user_id), str(boss.id)) == 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("password_changed", "password of your account was changed"),
        ("api_key_created", "was made for your account"),
        ("role_granted", "You were given the role"),
        ("email_replaced", "this one is no longer it"),
        ("wrong_codes", "tried codes until none was left"),
        ("refresh_reused", "used twice"),
    ],
)
def test_a_notice_arrives_and_its_link_closes_the_account_off(site: Deployment, kind: str, said: str) -> None:
    visitor, email = registered(site)
    (user_id,) = site.one("SELECT id FROM auth_user WHERE email = %s", email)
    count = 2
    if kind == "password_changed":
        assert visitor.post("password/change", {"current_password": PASSWORD, "new_password": NEW}).status == 204
    elif kind == "api_key_created":
        assert visitor.post("api-keys", {"name": "export"}).status == 201
    elif kind == "wrong_codes":
        other = site.visitor("203.0.113.9")
        assert other.login(email, PASSWORD).status == 202
        code = last_letter(site, email, 2).code
        for _ in range(5):
            other.approve(code[:-1] + str((int(code[-1]) + 1) % 10))
        count = 3
    elif kind == "refresh_reused":
        thief = visitor.copy()
        assert visitor.refresh().status == 200
        assert visitor.me().status == 200
        site.rows(
            "UPDATE django_secure_auth_session SET rotated_at = now() - interval '1 hour' WHERE user_id = %s", user_id
        )
        assert thief.refresh().problem == "refresh_reused"
    else:
        admin, _ = site.enter_admin()
        if kind == "role_granted":
            name = f"role-{token_hex(4)}"
            make = f"from django_secure_auth.models import Role; print(Role.objects.create(name='{name}').pk)"
            role = site.manage("shell", "--verbosity", "0", "--command", make).strip()
            form = {"user": str(user_id), "role": str(role), "content_type": "", "object_id": ""}
            form |= {"expires_at_0": "", "expires_at_1": ""}
            page = "/admin/django_secure_auth/roleassignment/add/"
        else:
            (name, joined) = site.one("SELECT username, date_joined FROM auth_user WHERE id = %s", user_id)
            form = {"username": name, "email": f"{token_hex(8)}@example.com", "is_active": "on"}
            form |= {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
            page = f"/admin/auth/user/{user_id}/change/"
        assert admin.send("POST", page, form=form).status == 302
    letter = last_letter(site, email, count)
    assert said in letter.part("plain")
    assert said in letter.part("html")
    assert site.visitor("203.0.113.10").arrive().post("not-me", link_in(letter)).status == 204
    assert visitor.me().status == 401
    assert site.visitor("203.0.113.11").login(email, NEW).problem == "invalid_credentials"


def test_without_codes_a_new_device_is_told_and_the_letter_closes_the_account_off(deploy: Deploy) -> None:
    site = deploy("redis", DJANGO_SETTINGS_MODULE="tests.real.no_codes_settings")
    site.start_web()
    site.have_worker()
    owner, email = registered(site)
    thief = site.visitor("203.0.113.9").arrive()
    assert thief.login(email, PASSWORD).status == 200
    letter = last_letter(site, email, 2)
    assert "on a device that was not known before" in letter.part("plain")
    assert "203.0.113.9" in letter.part("plain")
    assert owner.post("not-me", link_in(letter)).status == 204
    assert thief.me().status == 401
    assert thief.refresh().problem == "session_revoked"
