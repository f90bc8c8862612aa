"""Pages of other origins attack a signed-in visitor of the site, in Chromium, with nothing faked.

The attacker owns two names: one on another site, and one beside ours, a sibling sub-domain that was taken over. Each
attempt has a name; none gets an answer that it can read, and none changes anything. The same requests from a page of
ours work (the last tests), so what stops the attacker is who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests import reachable
from tests.real.deployment import User
from tests.real.tls_site import (
    APP,
    FRONT,
    SIBLING,
    STRANGER,
    Strangers,
    TLSSite,
    chromium_arguments,
    strangers,
    tls_site,
)
from tests.real.waiting import until

pytestmark = pytest.mark.services

ACCESS, REFRESH = "__Host-secure_auth_access", "__Secure-secure_auth_refresh"
SIGN_OUT = "/api/auth/logout/"
SECRET = "the-victims-secret-note"
# In every run from the sibling, to which the browser gives the visitor's cookies; by night from both.
from_both = pytest.mark.parametrize(
    "origin",
    [f"https://{SIBLING}", pytest.param(f"https://{STRANGER}", marks=pytest.mark.nightly)],
    ids=["sibling", "stranger"],
)
by_night = pytest.mark.nightly

# What our own page does: get the token, send JSON.
OURS = """
const api = "/api/";
const send = async (method, path, body) => {
  const headers = {"Content-Type": "application/json"};
  if (method !== "GET") headers["X-CSRF-Token"] = (await (await fetch(api + "auth/csrf/")).json()).csrf_token;
  const answer = await fetch(api + path, {method, headers, body: body && JSON.stringify(body), cache: "no-store"});
  const text = await answer.text();
  return {status: answer.status, body: text ? JSON.parse(text) : null};
};
"""


def ours(page: Page, method: str, path: str, body: Any = None) -> Any:
    """Send a request as a script of our own page does."""
    source = f"async ([method, path, body]) => {{ {OURS} return send(method, path, body); }}"
    return page.evaluate(source, [method, path, body])


def sign_in(page: Page, site: TLSSite, user: User) -> None:
    page.goto(f"{site.url}/")
    sent = len(site.post.of(user.email))
    answer = ours(page, "POST", "auth/login/", {"email": user.email, "password": user.password})
    if answer["status"] == 202:
        code = site.post.wait_for(user.email, count=sent + 1)[-1].code
        answer = ours(page, "POST", "auth/otp/approve/", {"otp_code": code})
    assert answer["status"] == 200, answer


@dataclass
class Web:
    """The site, the attacker's names, one browser, and the visitor who is signed in."""

    site: TLSSite
    others: Strangers
    new_context: Callable[[], BrowserContext]
    victim: User
    context: BrowserContext
    home: Page
    theirs: Page

    def state(self) -> tuple[Any, ...]:
        """What no stranger may change: the profile, the sessions, the notes, the cookies."""
        rows = self.site.rows
        mine = "select id, generation, revoked_at is null from django_secure_auth_session where user_id = ?"
        cookies = sorted(
            (cookie.get("name"), cookie.get("value"))
            for cookie in self.context.cookies(f"{self.site.url}/api/auth/")
            if str(cookie.get("name")).startswith("__")
        )
        return (
            rows("select first_name, last_name, password from auth_user where id = ?", self.victim.id),
            rows(mine, self.victim.id),
            rows("select title from notes_note order by id"),
            cookies,
        )

    def page(self, origin: str) -> Page:
        """A page of the attacker's, in the visitor's browser."""
        self.theirs.goto(f"{origin}/")
        return self.theirs

    def answers(self, path: str) -> list[int]:
        """The states of the answers to requests for a path, as the server's log has them."""
        return [int(status) for status in re.findall(rf'"[A-Z]+ {re.escape(path)} HTTP/1.1" (\d+)', self.site.log)]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    if reason := reachable.why_not("chromium"):
        pytest.skip(reason)
    elsewhere = (FRONT, SIBLING, STRANGER)
    with (
        pytest.MonkeyPatch.context() as patch,
        tls_site(tmp_path_factory.mktemp("site"), CORS_ALLOWED_ORIGINS=f"https://{FRONT}") as site,
        strangers(tmp_path_factory.mktemp("strangers"), *elsewhere) as others,
        sync_playwright() as playwright,
    ):
        # Playwright's loop runs in this thread, and Django takes it for a sign of async code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        arguments = chromium_arguments({APP: site.port, **dict.fromkeys(elsewhere, others.port)})
        browser = playwright.chromium.launch(executable_path=reachable.browser(), args=arguments)

        def new_context() -> BrowserContext:
            return browser.new_context(ignore_https_errors=True)

        context, victim = new_context(), site.make_user()
        home = context.new_page()
        sign_in(home, site, victim)
        assert ours(home, "POST", "notes/", {"title": SECRET})["status"] == 201
        yield Web(site, others, new_context, victim, context, home, context.new_page())
        browser.close()


@pytest.fixture(autouse=True)
def _nothing_has_changed(web: Web) -> Iterator[None]:
    """The law of this file: whatever is tried, the victim is who they were, and has what they had."""
    before = web.state()
    yield
    assert web.state() == before
    assert ours(web.home, "GET", "auth/me/")["body"]["email"] == web.victim.email
    for page in web.context.pages:
        if page not in (web.home, web.theirs):
            page.close()


# --- forms -------------------------------------------------------------------------------------------

FORMS = {
    "sign-out": ("auth/logout/", "application/x-www-form-urlencoded", {}),
    "refresh": ("auth/refresh/", "application/x-www-form-urlencoded", {}),
    "sign-in as somebody else": ("auth/login/", "multipart/form-data", {"email": "eve@example.com", "password": "x"}),
    "JSON in a text form": ("notes/", "text/plain", {'{"title": "planted", "a": "': '"}'}),
    "a note with a guessed token": ("notes/", "multipart/form-data", {"title": "x", "csrfmiddlewaretoken": "a" * 32}),
    "the admin's sign-in": ("../admin/login/", "application/x-www-form-urlencoded", {"username": "x", "password": "y"}),
}
SUBMIT = """([action, enctype, fields, target]) => {
  const form = Object.assign(document.createElement("form"), {method: "post", action, enctype, target});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(form);
  form.submit();
}"""


@from_both
@pytest.mark.parametrize("attempt", FORMS)
def test_a_form_is_refused(web: Web, origin: str, attempt: str) -> None:
    path, kind, fields = FORMS[attempt]
    page = web.page(origin)
    with page.expect_navigation() as leaving:
        page.evaluate(SUBMIT, [f"{web.site.url}/api/{path}", kind, fields, "_self"])
    answer = leaving.value
    assert answer is not None
    assert answer.status == 403
    assert answer.json()["code"] == "cross_site_request"


@from_both
@pytest.mark.parametrize("frame", ["<iframe name=f></iframe>", "<iframe name=f sandbox></iframe>"], ids=["", "sandbox"])
def test_a_form_into_a_hidden_frame_is_refused(web: Web, origin: str, frame: str) -> None:
    page, seen = web.page(origin), len(web.answers(SIGN_OUT))
    page.evaluate("frame => document.body.insertAdjacentHTML('beforeend', frame)", frame)
    page.evaluate(SUBMIT, [f"{web.site.url}{SIGN_OUT}", "text/plain", {}, "f"])
    until(lambda: len(web.answers(SIGN_OUT)) > seen, "the form to arrive")
    assert web.answers(SIGN_OUT)[seen:] == [403]


@from_both
def test_a_form_from_a_sandbox_without_an_origin_is_refused(web: Web, origin: str) -> None:
    page, seen = web.page(origin), len(web.answers(SIGN_OUT))
    form = f"<form method=post action={web.site.url}{SIGN_OUT}></form><script>document.forms[0].submit()</script>"
    page.evaluate(
        """form => document.body.append(Object.assign(document.createElement("iframe"),
           {sandbox: "allow-scripts allow-forms", srcdoc: form}))""",
        form,
    )
    until(lambda: len(web.answers(SIGN_OUT)) > seen, "the form to arrive")
    assert web.answers(SIGN_OUT)[seen:] == [403]
    assert '"origin":"null"' in web.site.log


# --- scripts -----------------------------------------------------------------------------------------

FETCHES = {
    "a fetch that reads": ("GET", "notes/", {"mode": "cors", "credentials": "include"}),
    "a fetch without credentials": ("GET", "notes/", {"mode": "cors", "credentials": "omit"}),
    "a fetch that cannot read": ("GET", "notes/", {"mode": "no-cors", "credentials": "include"}),
    "a fetch for a CSRF token": ("GET", "auth/csrf/", {"mode": "cors", "credentials": "include"}),
    "a fetch of who I am": ("GET", "auth/me/", {"mode": "no-cors", "credentials": "include"}),
    "a blind sign-out": ("POST", "auth/logout/", {"mode": "no-cors", "credentials": "include"}),
    "a blind refresh": ("POST", "auth/refresh/", {"mode": "no-cors", "credentials": "include"}),
    "a sign-out that reads": ("POST", "auth/logout/", {"mode": "cors", "credentials": "include"}),
    "a sign-out that outlives its page": (
        "POST", "auth/logout/", {"mode": "no-cors", "credentials": "include", "keepalive": True}
    ),
    "JSON as text": (
        "POST", "notes/", {"mode": "no-cors", "credentials": "include", "body": '{"title": "planted"}'}
    ),
    "JSON, after a preflight": (
        "POST", "notes/",
        {"credentials": "include", "headers": {"Content-Type": "application/json"}, "body": '{"title": "planted"}'},
    ),
    "a CSRF header, after a preflight": (
        "POST", "auth/logout/", {"credentials": "include", "headers": {"X-CSRF-Token": "a" * 32}}
    ),
    "a change of the profile": (
        "PATCH", "auth/me/",
        {"credentials": "include", "headers": {"Content-Type": "application/json"}, "body": '{"first_name": "x"}'},
    ),
    "an end of all sessions": ("DELETE", "auth/sessions/", {"credentials": "include"}),
    "an override of the method": (
        "POST", "auth/me/", {"credentials": "include", "headers": {"X-HTTP-Method-Override": "DELETE"}}
    ),
}  # fmt: skip
FETCH = """([url, options]) => fetch(url, options).then(
  async answer => `${answer.type} ${answer.status} ${await answer.text()}`, error => "refused")"""


@from_both
@pytest.mark.parametrize("attempt", FETCHES)
def test_a_fetch_reads_nothing_and_does_nothing(web: Web, origin: str, attempt: str) -> None:
    method, path, options = FETCHES[attempt]
    page = web.page(origin)
    seen = len(web.answers(f"/api/{path}"))
    loot = page.evaluate(FETCH, [f"{web.site.url}/api/{path}", {"method": method, **options}])
    assert loot in {"refused", "opaque 0 "}
    # Refused by us, or not even sent, since the answer to the preflight (200, no CORS header) allows nothing.
    allowed = {200, 403} if "headers" in options or method not in {"GET", "POST"} else {403}
    statuses = web.answers(f"/api/{path}")[seen:]
    assert set(statuses) <= allowed
    assert len(statuses) <= 1


LOADS = {
    "XMLHttpRequest with credentials":
        """url => new Promise(done => { const request = new XMLHttpRequest(); request.open("GET", url + "notes/");
               request.withCredentials = true; request.onload = () => done(request.responseText);
               request.onerror = () => done("refused"); request.send(); })""",
    "a beacon": "async url => navigator.sendBeacon(url + 'auth/logout/', '{}') && 'sent'",
    "an event stream":
        """url => new Promise(done => { const source = new EventSource(url + "notes/", {withCredentials: true});
               source.onmessage = event => done(event.data);
               source.onerror = () => { source.close(); done("refused"); }; })""",
    "a worker's script": """url => new Promise(done => { try { const worker = new Worker(url + "notes/");
               worker.onerror = () => done("refused"); worker.onmessage = () => done("ran"); }
               catch (error) { done("refused"); } })""",
    "a script with the page's own variable in wait":
        """url => new Promise(done => { const script = document.createElement("script");
               script.src = url + "notes/"; script.onload = () => done("loaded");
               script.onerror = () => done("refused");
               document.body.append(script); })""",
    "a module": """url => import(url + "notes/").then(() => "loaded", () => "refused")""",
    "a JSON module": """url => import(url + "notes/", {with: {type: "json"}}).then(() => "loaded", () => "refused")""",
    "an image": """url => new Promise(done => { const image = new Image(); image.onload = () => done("loaded");
               image.onerror = () => done("refused"); image.src = url + "auth/me/"; })""",
    "a picture of ours, to tell whether somebody is signed in":
        """url => new Promise(done => { const image = new Image(); image.onload = () => done("loaded");
               image.onerror = () => done("refused"); image.src = new URL("/icon.svg", url).href; })""",
    "a style sheet": """url => new Promise(done => { const link = Object.assign(document.createElement("link"),
               {rel: "stylesheet", href: url + "notes/"}); link.onload = () => done("loaded");
               link.onerror = () => done("refused");
               document.head.append(link); })""",
    "an audio file": """url => new Promise(done => { const audio = new Audio(); audio.oncanplay = () => done("loaded");
               audio.onerror = () => done("refused"); audio.src = url + "notes/"; })""",
    "an object": """url => new Promise(done => { const object = document.createElement("object");
               object.onload = () => done("loaded"); object.onerror = () => done("refused");
               object.data = url + "notes/"; document.body.append(object); })""",
    "a prefetch": """url => new Promise(done => { const link = Object.assign(document.createElement("link"),
               {rel: "prefetch", href: url + "auth/me/"}); link.onload = () => done("loaded");
               link.onerror = () => done("refused");
               document.head.append(link); })""",
    "a preload with credentials":
        """url => new Promise(done => { const link = Object.assign(document.createElement("link"),
               {rel: "preload", as: "fetch", crossOrigin: "use-credentials", href: url + "notes/"});
               link.onload = () => done("loaded"); link.onerror = () => done("refused");
               document.head.append(link); })""",
}  # fmt: skip


@from_both
@pytest.mark.parametrize("attempt", LOADS)
def test_a_load_reads_nothing_and_does_nothing(web: Web, origin: str, attempt: str) -> None:
    page = web.page(origin)
    loot = page.evaluate(LOADS[attempt], f"{web.site.url}/api/")
    assert loot == ("sent" if attempt == "a beacon" else "refused")  # a beacon tells nobody what became of it
    assert SECRET not in page.content()


# --- frames and windows ------------------------------------------------------------------------------


@from_both
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/notes/",
        *(pytest.param(path, marks=by_night) for path in ("/admin/login/", "/api/docs/", "/icon.svg")),
    ],
)
def test_nothing_is_shown_in_a_frame(web: Web, origin: str, path: str) -> None:
    page = web.page(origin)
    with page.expect_response(f"{web.site.url}{path}"):
        page.evaluate("url => { document.body.innerHTML = `<iframe src=${url}></iframe>`; }", f"{web.site.url}{path}")
    frame = page.frames[-1]
    frame.wait_for_load_state()
    assert frame.url.startswith("chrome-error:")
    assert page.evaluate(
        "() => { try { return frames[0].document.body.innerHTML } catch (e) { return 'refused' } }"
    ) in {"refused"}


@from_both
@pytest.mark.parametrize(
    "path", ["/", *(pytest.param(path, marks=by_night) for path in ("/admin/login/", "/api/notes/"))]
)
def test_a_window_that_was_opened_is_out_of_reach(web: Web, origin: str, path: str) -> None:
    """Cross-Origin-Opener-Policy cuts the wire: no counting of frames, no messages, no way to lead it elsewhere."""
    page = web.page(origin)
    with page.context.expect_page() as opened:
        page.evaluate("url => { window.other = open(url); }", f"{web.site.url}{path}")
    window = opened.value
    window.wait_for_load_state()
    assert window.url == f"{web.site.url}{path}"
    page.wait_for_function("other.closed")  # cut off, though it is open
    assert window.evaluate("window.opener") is None
    page.evaluate(f"() => {{ other.location = '{origin}/stolen'; other.postMessage('x', '*'); }}")
    assert window.url == f"{web.site.url}{path}"


@from_both
def test_a_followed_link_works_and_tells_the_opener_nothing(web: Web, origin: str) -> None:
    """The one thing that other sites may do: lead somebody to us."""
    page = web.page(origin)
    answer = page.goto(f"{web.site.url}/", referer=f"{origin}/")
    assert answer is not None
    assert answer.status == 200
    page.evaluate("url => { location = url; }", f"{origin}/")
    page.wait_for_url(f"{origin}/")
    assert page.evaluate("document.referrer") in {"", f"{origin}/"}


# --- cookies that a sibling plants -------------------------------------------------------------------


def plant(page: Page, *cookies: str) -> None:
    page.evaluate("cookies => cookies.forEach(one => { document.cookie = one; })", list(cookies))


@pytest.fixture
def tossed(web: Web) -> Iterator[Page]:
    """A page of the sibling; what it plants is taken away again."""
    yield web.page(f"https://{SIBLING}")
    web.context.clear_cookies(domain=".site.test")


def test_no_host_cookie_can_be_planted(web: Web, tossed: Page) -> None:
    names = [ACCESS, ACCESS.lower(), "__Host-secure_auth_device", "__Host-secure_auth_challenge"]
    plant(tossed, *(f"{name}=planted; Domain=site.test; Path=/; Secure" for name in names))
    plant(tossed, *(f"{name}=planted; Path=/api; Secure" for name in names))
    seen = {str(cookie.get("value")) for cookie in web.context.cookies(f"{web.site.url}/api/auth/")}
    assert "planted" not in seen


@pytest.mark.parametrize("blank", ["\u2000", "\u00a0", "\u3000"], ids=ascii)
def test_a_name_that_only_looks_like_a_host_cookie_is_none(web: Web, tossed: Page, blank: str) -> None:
    plant(tossed, f"{blank}{ACCESS}=planted; Domain=site.test; Path=/; Secure")
    assert ours(web.home, "GET", "auth/me/")["body"]["email"] == web.victim.email


@pytest.mark.parametrize("path", ["auth/logout/", "auth/refresh/", "auth/login/", "notes/"])
def test_a_planted_csrf_cookie_opens_nothing(web: Web, tossed: Page, path: str) -> None:
    planted = "a" * 32
    plant(tossed, f"csrftoken={planted}; Domain=site.test; Path=/api; Secure")  # the longer path comes first
    with tossed.expect_navigation() as leaving:
        fields = {"csrfmiddlewaretoken": planted}
        tossed.evaluate(SUBMIT, [f"{web.site.url}/api/{path}", "application/x-www-form-urlencoded", fields, "_self"])
    assert leaving.value is not None
    assert leaving.value.status == 403
    tossed.goto(f"https://{SIBLING}/")
    options = {"method": "POST", "credentials": "include", "headers": {"X-CSRF-Token": planted}}
    assert tossed.evaluate(FETCH, [f"{web.site.url}/api/{path}", options]) == "refused"


@pytest.fixture(scope="module")
def eve(web: Web) -> dict[str, str]:
    """The attacker's own, genuine cookies of the site, from a browser of their own."""
    context, user = web.new_context(), web.site.make_user("eve")
    page = context.new_page()
    sign_in(page, web.site, user)
    held = {str(one.get("name")): str(one.get("value")) for one in context.cookies(f"{web.site.url}/api/auth/")}
    context.close()
    return {**held, "email": user.email}


@pytest.mark.parametrize(
    "path", ["/api/auth/refresh/", pytest.param("/api/auth/", marks=by_night), pytest.param("/", marks=by_night)]
)
def test_a_planted_refresh_cookie_makes_nobody_the_attacker(web: Web, eve: dict[str, str], path: str) -> None:
    """`__Secure-` allows a Domain: a genuine refresh token of the attacker's own stands before the victim's."""
    context, user = web.new_context(), web.site.make_user("zoe")
    page, other = context.new_page(), context.new_page()
    sign_in(page, web.site, user)
    other.goto(f"https://{SIBLING}/")
    plant(other, f"{REFRESH}={eve[REFRESH]}; Domain=site.test; Path={path}; Secure")
    assert ours(page, "POST", "auth/refresh/")["status"] == 200
    assert ours(page, "GET", "auth/me/")["body"]["email"] == user.email
    context.close()


def test_a_planted_refresh_cookie_keeps_no_session_from_its_end(web: Web, eve: dict[str, str]) -> None:
    context, user = web.new_context(), web.site.make_user("zoe")
    page = context.new_page()
    sign_in(page, web.site, user)
    other = context.new_page()
    other.goto(f"https://{SIBLING}/")
    plant(other, f"{REFRESH}={eve[REFRESH]}; Domain=site.test; Path=/api/auth/logout/; Secure")
    assert ours(page, "POST", "auth/logout/")["status"] == 204
    ended = "select revoked_reason from django_secure_auth_session where user_id = ?"
    assert web.site.rows(ended, user.id) == [("sign_out",)]
    context.close()


# --- and what all this would be worth ----------------------------------------------------------------


def test_from_our_own_page_the_same_requests_work(web: Web) -> None:
    assert ours(web.home, "GET", "notes/")["body"]["results"][0]["title"] == SECRET
    options = {"method": "GET", "credentials": "include"}
    assert SECRET in web.home.evaluate(FETCH, [f"{web.site.url}/api/notes/", options])


def test_from_an_origin_that_cors_lets_in_they_work_too(web: Web) -> None:
    """A front end on a sub-domain, named in CORS_ALLOWED_ORIGINS: cookies come along, answers are read."""
    page = web.page(f"https://{FRONT}")
    api = f"{web.site.url}/api/"
    assert SECRET in page.evaluate(FETCH, [f"{api}notes/", {"credentials": "include"}])
    token = page.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(answer => answer.json())", f"{api}auth/csrf/"
    )
    headers = {"Content-Type": "application/json", "X-CSRF-Token": token["csrf_token"]}
    options = {"method": "POST", "credentials": "include", "headers": headers, "body": "{}"}
    assert page.evaluate(FETCH, [f"{api}notes/", options]).startswith("cors 400")  # heard, and judged by what it says
    del headers["X-CSRF-Token"]
    assert '"csrf_failed"' in page.evaluate(FETCH, [f"{api}notes/", options])
    assert page.evaluate(FETCH, [f"{web.site.url}/admin/login/", {"credentials": "include"}]) == "refused"


def test_each_refusal_is_told(web: Web) -> None:
    page = web.page(f"https://{SIBLING}")
    page.evaluate(FETCH, [f"{web.site.url}/api/auth/me/", {"mode": "no-cors", "credentials": "include"}])
    assert '"event":"malicious_cors"' in web.site.log
    assert '"site":"same-site"' in web.site.log
