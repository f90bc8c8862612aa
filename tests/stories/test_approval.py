"""`approve()`: a mailed code for exactly one action with exactly these parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import RequestFactory
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.accounts.permissions import Approved
from django_secure_auth.accounts.services import approve
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.decorators import approved
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from tests.browser import Browser, code_of, last_code, make_user, named, wrong_code

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
Configure = Callable[..., None]


def named_by(request: Request, **kwargs: Any) -> dict[str, Any]:
    return {"to": request.data["to"], "amount": request.data["amount"], **kwargs}


class PayView(APIView):
    authentication_classes = [JWTCookieAuthentication, APIKeyAuthentication]

    @approved("pay", named_by)
    def post(self, request: Request, account: int) -> Response:
        return Response({"paid": request.data["amount"]})


class TransferView(APIView):
    """The same as a permission."""

    authentication_classes = [JWTCookieAuthentication, APIKeyAuthentication]
    permission_classes = [IsAuthenticated, Approved("pay", named_by)]
    renderer_classes = [JSONRenderer, BrowsableAPIRenderer]

    def get(self, request: Request, account: int) -> Response:
        return Response({"account": account})

    def post(self, request: Request, account: int) -> Response:
        return Response({"paid": request.data["amount"]})


class BareView(TransferView):
    permission_classes = TransferView.permission_classes[1:]


class ListView(APIView):
    """A form for what needs a code, shown by what needs none."""

    authentication_classes = [JWTCookieAuthentication]
    renderer_classes = [BrowsableAPIRenderer]

    def get_permissions(self) -> list[Any]:
        return [Approved("clear", lambda request: {})] if self.request.method == "POST" else []

    def get(self, request: Request) -> Response:
        return Response([])

    def post(self, request: Request) -> Response:
        return Response([])


urlpatterns = [
    path("bare/<int:account>/", transaction.non_atomic_requests(BareView.as_view())),
    path("transfer/<int:account>/", transaction.non_atomic_requests(TransferView.as_view())),
    path("list/", transaction.non_atomic_requests(ListView.as_view())),
    path("api/auth/", include("django_secure_auth.urls")),
    path("pay/<int:account>/", transaction.non_atomic_requests(PayView.as_view())),
]
BODY = {"to": "Ben\n<b>", "amount": 100}


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def pay(browser: Browser, code: str | None = None, account: int = 1, door: str = "pay", **changes: Any) -> Any:
    headers = {"X-Approval-Code": code} if code is not None else {}
    return browser.request("POST", f"/{door}/{account}/", {**BODY, **changes}, headers=headers)


@pytest.mark.control("ASVS-7.5.3", "CS-TransactionAuth-1.1")
def test_the_mail_names_what_is_approved_and_the_code_approves_it_once(signed_in: Browser) -> None:
    asked = pay(signed_in)
    assert asked.status_code == 202
    assert asked.json()["challenge"]["purpose"] == "approval"
    text, html = str(mail.outbox[-1].body), str(mail.outbox[-1].alternatives[0][0])
    assert "approve an action: pay\n  to: Ben <b>\n  amount: 100\n  account: 1" in text
    assert "to: Ben &lt;b&gt;" in html
    assert "signing in" not in text
    code = last_code()
    done = pay(signed_in, code)
    assert (done.status_code, done.json()) == (200, {"paid": 100})
    assert code_of(pay(signed_in, code)) == "challenge_invalid"
    (event,) = named("authn_action_approved")
    assert event.details["action"] == "pay"


@pytest.mark.control("CS-TransactionAuth-2.6")
@pytest.mark.parametrize("change", [{"to": "Eve"}, {"amount": 101}, {"amount": "100"}, {"account": 2}])
def test_it_is_good_for_nothing_else(signed_in: Browser, change: dict[str, Any]) -> None:
    pay(signed_in)
    code = last_code()
    assert code_of(pay(signed_in, code, **change)) == "challenge_invalid"
    assert pay(signed_in, code).status_code == 200


def test_nor_elsewhere(signed_in: Browser) -> None:
    pay(signed_in)
    code = last_code()
    other = Browser()
    other.sign_in()
    other.put("challenge", signed_in.value("challenge"))
    assert code_of(pay(other, code)) == "challenge_invalid"
    assert code_of(signed_in.approve(code)) == "challenge_invalid"  # it opens no session
    assert pay(signed_in, code).status_code == 200


@pytest.mark.control("ASVS-2.3.1", "CS-TransactionAuth-1.4", "ASVS-2.2.3")
def test_a_sign_in_code_approves_nothing(signed_in: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="always")
    signed_in.login()
    assert code_of(pay(signed_in, last_code())) == "challenge_invalid"


def test_wrong_codes_are_counted_and_ill_formed_ones_are_not(signed_in: Browser) -> None:
    pay(signed_in)
    assert pay(signed_in, "12345x").status_code == 400
    left = [pay(signed_in, wrong_code()).json().get("attempts_left") for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    assert code_of(pay(signed_in, last_code())) == "challenge_invalid"


def test_an_app_brings_the_challenge_in_a_header(configure: Configure) -> None:
    configure(ALLOW_TOKEN_IN_BODY=True, OTP_POLICY="never")
    make_user()
    app = Browser()
    transport = {"X-Token-Transport": "body"}
    token = app.login(headers=transport, csrf=False).json()["access_token"]
    sent = {**transport, "Authorization": f"Bearer {token}"}
    asked = app.request("POST", "/pay/1/", BODY, headers=sent, csrf=False)
    assert asked.status_code == 202
    more = {"X-Approval-Code": last_code(), "X-Challenge-Token": asked.json()["challenge_token"]}
    assert app.request("POST", "/pay/1/", BODY, headers={**sent, **more}, csrf=False).status_code == 200


def test_a_program_approves_nothing(signed_in: Browser) -> None:
    user: Any = make_user("job@example.com")
    _, key = create_key(user, name="job")
    answer = Browser().request("POST", "/pay/1/", BODY, headers={"X-API-Key": key}, csrf=False)
    assert code_of(answer) == "permission_denied"


def test_a_transaction_of_the_request_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    request = Request(RequestFactory().post("/"))
    with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"), transaction.atomic():
        approve(request, "pay", {})


def test_a_mail_that_nobody_would_read_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="At most 20"):
        approve(Request(RequestFactory().post("/")), "pay", dict.fromkeys(map(str, range(21)), 1))


# --- the same as a permission ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "handler", ["rest_framework.views.exception_handler", "django_secure_auth.problems.exception_handler"]
)
@pytest.mark.control("ASVS-2.3.5")
def test_a_permission_asks_and_lets_the_code_through_once(signed_in: Browser, settings: Any, handler: str) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": handler}
    asked = pay(signed_in, door="transfer")
    assert asked.status_code == 202
    assert asked.json() == pay(signed_in).json() | {"challenge": asked.json()["challenge"]}
    pay(signed_in, door="transfer")
    assert signed_in.has("challenge")
    code = last_code()
    assert pay(signed_in, code, door="transfer", amount=101).status_code == 401
    done = pay(signed_in, code, door="transfer")
    assert (done.status_code, done.json()) == (200, {"paid": 100})
    again = pay(signed_in, code, door="transfer")
    assert again.status_code == 401


def test_a_permission_alone_lets_nobody_in(browser: Browser) -> None:
    assert pay(browser, door="bare").status_code == 401
    assert pay(browser, door="transfer").status_code == 401
    assert not mail.outbox
    user: Any = make_user("job@example.com")
    _, key = create_key(user, name="job")
    assert Browser().request("POST", "/bare/1/", BODY, headers={"X-API-Key": key}, csrf=False).status_code == 403


def test_a_permission_that_is_only_asked_what_it_would_show_mails_nothing(signed_in: Browser) -> None:
    mails = len(mail.outbox)
    shown = signed_in.request("GET", "/list/", headers={"Accept": "text/html"})
    assert shown.status_code == 200
    assert b"POST" in shown.content
    assert len(mail.outbox) == mails
