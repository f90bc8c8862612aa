"""What a stranger names is fetched from the internet and from nowhere else; nothing inside is ever connected to."""

from __future__ import annotations

import asyncio
import csv
import gzip
import itertools
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

pytest.importorskip("httpx", reason="the extra `fetch` is not installed")

import httpcore
import httpx
from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSServer

from django_secure_auth.kit import safe_fetch
from django_secure_auth.kit.addresses import OUTSIDE_V6, SPECIAL_V4, SPECIAL_V6, why_not_public
from django_secure_auth.kit.safe_fetch import AsyncSafeTransport, SafeTransport, UnsafeURL, safe_aget, safe_get
from tests.kit.inside import ALL, FORMS, INSIDE, OTHERS, PUBLIC, names

BOMB = gzip.compress(bytes(50_000_000), 1)  # beforehand: what is measured is the side that unpacks
Fetch = Callable[..., httpx.Response]
TLS = ssl.create_default_context()  # once: reading the authorities takes longer than a refusal


def fetch_later(url: str, **how: Any) -> httpx.Response:
    return asyncio.run(safe_aget(url, **how))


both = pytest.mark.parametrize("fetch", [safe_get, fetch_later], ids=["sync", "async"])


# --- nothing inside ----------------------------------------------------------------------------------


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is a failure, whatever comes of it."""

    def refuse(*args: object, **kwargs: object) -> Any:
        pytest.fail(f"connected: {args} {kwargs}")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", refuse)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", refuse)


def test_there_are_hundreds_of_them() -> None:
    assert len(ALL) + sum(map(len, OTHERS.values())) > 600


@both
@pytest.mark.control("ASVS-1.3.6")
@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_an_inside_address_is_connected_to(form: str, fetch: Fetch) -> None:
    for scheme, address in itertools.product(("http", "https"), INSIDE):
        with pytest.raises(UnsafeURL) as refused:
            fetch(f"{scheme}://{FORMS[form](address)}/x", resolver=names, ssl_context=TLS)
        assert str(refused.value) == "This address cannot be fetched."
        assert refused.value.rule not in {"connection", "time"}


@both
@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(("rule", "url"), [(rule, url) for rule, urls in OTHERS.items() for url in urls])
def test_what_is_no_plain_url_is_refused_by_its_rule(rule: str, url: str, fetch: Fetch) -> None:
    with pytest.raises(UnsafeURL) as refused:
        fetch(url, resolver=names)
    assert refused.value.rule == rule


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("host", ["example.com.evil.example", "evil-example.com", "www.example.com"])
def test_a_list_of_hosts_narrows(host: str) -> None:
    with pytest.raises(UnsafeURL, match="cannot be fetched"):
        safe_get(f"https://{host}/", allow_hosts=["example.com", "other.example"], resolver=names)


@pytest.mark.usefixtures("never")
def test_a_list_of_hosts_opens_nothing() -> None:
    for host in ("127.0.0.1", "named-127-0-0-1.example.com"):
        with pytest.raises(UnsafeURL):
            safe_get(f"http://{host}/", allow_hosts=[host], resolver=names)


@pytest.mark.parametrize("entry", ["", ".", "a b.example", "exa/mple.com", "http://example.com", "xn--a..example"])
def test_an_entry_that_is_no_host_is_a_mistake(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host name"):
        safe_get("https://example.com/", allow_hosts=[entry])


def test_one_host_is_no_list() -> None:
    with pytest.raises(TypeError, match="collection"):
        safe_get("https://example.com/", allow_hosts="example.com")


@both
@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("answers", [[], ["not an address"], None])
def test_a_name_without_an_address_is_refused(answers: list[str] | None, fetch: Fetch) -> None:
    def resolver(host: str, port: int) -> Sequence[str]:
        if answers is None:
            raise OSError("the name server is away")
        return answers

    with pytest.raises(UnsafeURL) as refused:
        fetch("https://example.com/", resolver=resolver)
    assert refused.value.rule == "name look-up"


def test_the_systems_own_look_up_is_judged_too() -> None:
    with pytest.raises(UnsafeURL) as refused:
        safe_fetch._judged(safe_fetch._look_up("localhost", 80))
    assert refused.value.rule == "loopback"


def test_what_the_registries_call_not_reachable_is_inside() -> None:
    """IANA's special-purpose registries of July 2026: iana-ipv4-special-registry-1.csv and its twin for IPv6."""
    with Path(__file__).with_name("iana_special.csv").open(encoding="ascii") as table:
        blocks = {ip_network(row["block"]): row["globally_reachable"] for row in csv.DictReader(table)}
    assert len(blocks) == 51
    for block, is_reachable in blocks.items():
        if is_reachable != "True":  # a deprecated one says nothing, a tunnel "N/A"
            assert why_not_public(block.network_address) is not None, block
            assert why_not_public(block.broadcast_address) is not None, block


def test_python_calls_nothing_public_inside_that_we_call_public() -> None:
    """Against drift: what `ipaddress` has learnt since our table was read shows here."""
    for network in (*SPECIAL_V4, *SPECIAL_V6, *OUTSIDE_V6):
        assert why_not_public(network.network_address) is not None
        assert why_not_public(network.broadcast_address) is not None
    for text in ("1.1.1.1", PUBLIC, "8.8.8.8", "2606:4700::1111", "2a00:1450::1"):
        assert why_not_public(ip_address(text)) is None
    for number in range(0, 2**32, 2**32 // 50_000):
        v4 = IPv4Address(number)
        assert v4.is_global or why_not_public(v4) is not None, v4
    for number in range(0, 2**128, 2**128 // 20_000):
        v6 = IPv6Address(number)
        assert v6.is_global or why_not_public(v6) is not None, v6


# --- what may be fetched -----------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.seen.append((self.headers.get("Host", ""), self.path, dict(self.headers)))
        getattr(self, f"answer_{self.path.partition('?')[0].strip('/').replace('-', '_') or 'page'}")()

    do_POST = do_GET

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "2000")
        self.send_header("X-Of", "head")
        self.end_headers()

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_page(self) -> None:
        self.send(b"a page", Set_Cookie="a=b", Content_Type="text/plain; charset=utf-8")

    def answer_missing(self) -> None:
        self.send(b"none", 404)

    def answer_moved(self) -> None:
        self.send(b"", 302, Location=unquote(self.path.partition("?")[2]), Set_Cookie="a=b")

    def answer_packed(self) -> None:
        self.send(gzip.compress(b"a page"), Content_Encoding="gzip")

    def answer_bomb(self) -> None:
        self.send(BOMB, Content_Encoding="gzip")

    def answer_cut(self) -> None:
        self.send(gzip.compress(b"a page")[:-4], Content_Encoding="gzip")

    def answer_brotli(self) -> None:
        self.send(b"x", Content_Encoding="br")

    def answer_garbage(self) -> None:
        self.send(b"no gzip", Content_Encoding="gzip")

    def answer_nothing(self) -> None:
        self.send(b"", Content_Encoding="gzip")

    def answer_charset(self) -> None:
        self.send(
            b"<p>\xff",
            Content_Type=f"text/html; charset={unquote(self.path.partition('?')[2]).replace('NINES', '9' * 5000)}",
        )

    def answer_long(self) -> None:
        self.send(b"x" * 2000)

    def answer_endless(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(100_000):
            self.wfile.write(b"x" * 65_536)

    def answer_headers(self) -> None:
        self.send_response(200)
        for number in range(20_000):
            self.send_header(f"X-{number}", "x" * 50)
        self.end_headers()

    def answer_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_silence(self) -> None:
        time.sleep(1)

    def answer_padded(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"1;" + b"x" * 8000 + b"\r\na\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def answer_nonsense(self) -> None:
        self.wfile.write(b"SSH-2.0-x\r\n\r\n")

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # whoever asked has hung up, as it should

    def log_message(self, format: str, *args: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.connected: list[str] = []
        self.granted: list[float | None] = []
        self.away: set[str] = set()
        self.peer: str | None = None
        """What a connection says it has reached, when it is not what was asked for."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The internet: whatever public address is connected to is this server, and says that it is that address."""
    server = Site()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    sync_connect, async_connect = httpcore.SyncBackend.connect_tcp, httpcore.AnyIOBackend.connect_tcp

    def says(stream: Any, host: str) -> Any:
        real = stream.get_extra_info
        peer = (server.peer or host, 443)
        stream.get_extra_info = lambda info: peer if info == "server_addr" else real(info)
        return stream

    def connect(self: Any, host: str, port: int, timeout: float | None = None, **how: Any) -> Any:
        server.connected.append(host)
        server.granted.append(timeout)
        if host in server.away:
            raise httpcore.ConnectError
        return says(sync_connect(self, "127.0.0.1", server.server_address[1], timeout), host)

    async def connect_later(self: Any, host: str, port: int, timeout: float | None = None, **how: Any) -> Any:  # noqa: ASYNC109  # httpcore's
        server.connected.append(host)
        server.granted.append(timeout)
        if host in server.away:
            raise httpcore.ConnectTimeout
        return says(await async_connect(self, "127.0.0.1", server.server_address[1], timeout), host)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_later)
    yield server
    server.shutdown()
    server.server_close()


def refusal_of(fetch: Fetch, url: str, **how: Any) -> str:
    with pytest.raises(UnsafeURL) as refused:
        fetch(url, **{"resolver": names, **how})
    return refused.value.rule


@both
@pytest.mark.parametrize("host", ["example.com", "EXAMPLE.com.", PUBLIC, "bücher.example", "[2606:4700::1111]"])
def test_what_is_anybodys_is_fetched(site: Site, fetch: Fetch, host: str) -> None:
    answer = fetch(f"http://{host}/?a=b#c", resolver=names)
    assert (answer.status_code, answer.text) == (200, "a page")
    assert site.connected == ["2606:4700::1111" if host.startswith("[") else PUBLIC]
    assert site.seen[0][1] == "/?a=b"
    if host.startswith("b"):
        assert site.seen[0][0] == "xn--bcher-kva.example"


@both
@pytest.mark.parametrize("allowed", [["example.com"], [".com"], ["EXAMPLE.com."]])
def test_a_host_of_the_list_is_fetched(site: Site, fetch: Fetch, allowed: list[str]) -> None:
    assert fetch("http://example.com/", resolver=names, allow_hosts=allowed).text == "a page"


@both
@pytest.mark.parametrize("allowed", ["bücher.example", "xn--bcher-kva.example", ".BÜCHER.example."])
@pytest.mark.parametrize("host", ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example"])
def test_a_name_of_the_list_is_one_in_every_spelling(site: Site, fetch: Fetch, allowed: str, host: str) -> None:
    host = f"www.{host}" if allowed.startswith(".") else host
    assert fetch(f"http://{host}/", resolver=names, allow_hosts=[allowed]).text == "a page"


@both
def test_the_next_address_of_a_name_is_tried_when_nobody_is_at_the_first(site: Site, fetch: Fetch) -> None:
    away = ["93.184.215.1", "93.184.215.2"]
    site.away = set(away)
    assert fetch("http://example.com/", resolver=lambda host, port: [*away, PUBLIC]).text == "a page"
    assert site.connected == [*away, PUBLIC]
    assert refusal_of(fetch, "http://example.com/", resolver=lambda host, port: away) in {"connection", "time"}


@both
def test_one_that_is_inside_spoils_all_of_them(site: Site, fetch: Fetch) -> None:
    assert refusal_of(fetch, "http://example.com/", resolver=lambda host, port: [PUBLIC, "10.0.0.1"]) == "private"
    assert site.connected == []


@both
def test_the_addresses_of_a_name_share_the_time(site: Site, fetch: Fetch) -> None:
    site.away = {"93.184.215.1"}
    fetch("http://example.com/", resolver=lambda host, port: ["93.184.215.1", PUBLIC], timeout=4.0)
    assert site.granted[0] == pytest.approx(2.0, abs=0.5)
    assert site.granted[1] == pytest.approx(4.0, abs=0.5)


@both
def test_what_the_host_answers_is_an_answer(site: Site, fetch: Fetch) -> None:
    assert fetch("http://example.com/missing", resolver=names).status_code == 404


@both
def test_a_packed_body_comes_unpacked(site: Site, fetch: Fetch) -> None:
    answer = fetch("http://example.com/packed", resolver=names)
    assert answer.text == "a page"
    assert "Content-Encoding" not in answer.headers


@both
def test_neither_cookies_nor_the_environment_are_used(
    site: Site, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://10.0.0.1:3128")
    fetch("http://example.com/moved?/", resolver=names)
    assert site.connected == [PUBLIC, PUBLIC]
    assert "Cookie" not in site.seen[1][2]


# --- redirects ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("http://127.0.0.1/", "loopback"),
        ("//169.254.169.254/latest/meta-data/", "link-local"),
        ("http://named-10-0-0-1.example.com/", "private"),
        ("http://example.com:6379/", "port"),
        ("http://ana:pw@example.com/", "credentials"),
        ("file:///etc/passwd", "scheme"),
        ("http://[::1/", "not a URL"),
        ("http://example.com/\xa0", "characters"),
        ("http://exa%20mple.com/", "host"),
        ("http://0x7f.1/", "odd address"),
    ],
)
def test_each_hop_is_judged_like_the_first(site: Site, fetch: Fetch, target: str, rule: str) -> None:
    assert refusal_of(fetch, f"http://example.com/moved?{quote(target)}") == rule
    assert site.connected == [PUBLIC]


@both
def test_hops_are_counted(site: Site, fetch: Fetch) -> None:
    there = "http://example.com/moved?/moved?/moved?/"
    assert fetch(there, resolver=names).text == "a page"
    assert refusal_of(fetch, there, max_redirects=2) == "redirects"


@both
def test_credentials_stay_with_their_origin(site: Site, fetch: Fetch) -> None:
    headers = {"Authorization": "Bearer x", "X-Kept": "y"}
    fetch("http://example.com/moved?/", resolver=names, headers=headers)
    fetch("http://example.com/moved?http://other.example/", resolver=names, headers=headers)
    assert ["Authorization" in seen[2] for seen in site.seen] == [True, True, True, False]
    assert all(seen[2]["X-Kept"] == "y" for seen in site.seen)


# --- size and time -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("long", "size"),
        ("endless", "size"),
        ("bomb", "size"),
        ("padded", "size"),
        ("cut", "encoding"),
        ("brotli", "encoding"),
        ("garbage", "connection"),
        ("headers", "connection"),
        ("nonsense", "connection"),
    ],
)
def test_what_is_too_much_or_cannot_be_read_is_refused(site: Site, fetch: Fetch, path: str, rule: str) -> None:
    assert refusal_of(fetch, f"http://example.com/{path}", max_bytes=1000) == rule


def test_a_bomb_costs_no_more_than_the_bound(site: Site) -> None:
    tracemalloc.start()
    try:
        assert refusal_of(safe_get, "http://example.com/bomb", max_bytes=100_000) == "size"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@both
@pytest.mark.parametrize(
    "charset", ["hex", "zlib", "idna", "undefined", "rot13", "base64", "punycode", "nobody's", "x; charset*NINES=x"]
)
def test_whatever_charset_a_host_names_its_text_can_be_asked_for(site: Site, fetch: Fetch, charset: str) -> None:
    """`zlib` would unpack without a bound under `python -O`; the others would raise, past every `except UnsafeURL`."""
    assert fetch(f"http://example.com/charset?{quote(charset)}", resolver=names).text == "<p>\ufffd"


@pytest.mark.parametrize(("charset", "text"), [("latin1", "<p>\xff"), ("koi8-r", "<p>\u042a")])
def test_a_charset_that_is_one_is_used(site: Site, charset: str, text: str) -> None:
    assert safe_get(f"http://example.com/charset?{charset}", resolver=names).text == text


@both
def test_nothing_packed_is_nothing(site: Site, fetch: Fetch) -> None:
    assert fetch("http://example.com/nothing", resolver=names).content == b""


def test_a_length_without_a_body_is_not_too_long(site: Site) -> None:
    with httpx.Client(transport=SafeTransport(resolver=names, max_bytes=1000), trust_env=False) as client:
        assert client.head("http://example.com/nothing").headers["x-of"] == "head"
        assert client.head("http://example.com/long").status_code == 200


@both
def test_a_redirect_to_a_name_that_cannot_be_said_is_refused(site: Site, fetch: Fetch) -> None:
    assert refusal_of(fetch, f"http://example.com/moved?{quote('http://xn--a.example/')}") == "host"


def test_a_transport_refuses_a_name_that_cannot_be_said(caplog: pytest.LogCaptureFixture) -> None:
    request = httpx.Request("GET", "http://xn--a.example/", headers={"Host": "x"})  # without, httpx raises here
    with pytest.raises(UnsafeURL) as refused:
        SafeTransport(resolver=names).handle_request(request)
    assert refused.value.rule == "host"
    assert "unreadable" in caplog.text


@both
@pytest.mark.parametrize("path", ["drip", "silence"])
def test_time_is_for_the_whole(site: Site, fetch: Fetch, path: str) -> None:
    began = time.monotonic()
    assert refusal_of(fetch, f"http://example.com/{path}", timeout=0.4) == "time"
    assert time.monotonic() - began < 3


@both
def test_a_look_up_takes_its_time_from_the_same_account(fetch: Fetch) -> None:
    def slow(host: str, port: int) -> Sequence[str]:
        time.sleep(1)
        return [PUBLIC]

    with pytest.raises(UnsafeURL) as refused:
        fetch("http://example.com/", resolver=slow, timeout=0.2)
    assert refused.value.rule == "time"


@both
def test_no_time_at_all_is_a_refusal(site: Site, fetch: Fetch) -> None:
    assert refusal_of(fetch, "http://example.com/", timeout=0) == "time"


@both
def test_a_connection_that_is_not_where_it_should_be_is_closed(site: Site, fetch: Fetch) -> None:
    site.peer = "10.0.0.1"
    assert refusal_of(fetch, "http://example.com/") == "peer"
    assert site.seen == []


@both
def test_nobody_at_home_is_a_refusal_like_any_other(monkeypatch: pytest.MonkeyPatch, fetch: Fetch) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(safe_fetch, "why_not_public", lambda address: None)
        assert refusal_of(fetch, f"http://named-127-0-0-1.example.com:{port}/", ports=[port]) == "connection"


# --- a name server that changes its mind -------------------------------------------------------------


class Rebinding(BaseResolver):
    """The first answer is public, all others are inside."""

    def __init__(self) -> None:
        self.asked = 0

    def resolve(self, request: Any, handler: Any) -> Any:
        self.asked += 1
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(PUBLIC if self.asked == 1 else "127.0.0.1"), ttl=0))
        return reply


@both
def test_a_name_that_is_bound_anew_is_looked_up_once_and_then_refused(site: Site, fetch: Fetch) -> None:
    answers = Rebinding()
    server = DNSServer(answers, address="127.0.0.1", port=0)
    port = server.server.server_address[1]
    server.start_thread()

    def ask(host: str, _port: int) -> Sequence[str]:
        reply = DNSRecord.parse(DNSRecord.question(host).send("127.0.0.1", port, timeout=5))
        return [str(record.rdata) for record in reply.rr]

    try:
        assert fetch("http://rebind.example.com/", resolver=ask).text == "a page"
        assert (answers.asked, site.connected) == (1, [PUBLIC])
        with pytest.raises(UnsafeURL) as refused:
            fetch("http://rebind.example.com/", resolver=ask)
        assert refused.value.rule == "loopback"
        assert site.connected == [PUBLIC]
    finally:
        server.stop()
        server.server.server_close()


# --- TLS ---------------------------------------------------------------------------------------------


@both
def test_over_https_the_name_is_the_hosts_and_plain_http_is_no_way_on(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    from tests.real.tls_site import Certificate  # noqa: PLC0415  # pulls in what only this test needs

    certificate = Certificate.make(tmp_path, "example.com")
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(certificate.chain))
    assert fetch("https://example.com/", resolver=names, ssl_context=trusting).text == "a page"
    assert asked == ["example.com"]
    there = "https://example.com/moved?http://example.com/"
    assert refusal_of(fetch, there, ssl_context=trusting) == "redirect to plain http"
    assert refusal_of(fetch, "https://other.example/", ssl_context=trusting) == "connection"
    assert refusal_of(fetch, "https://example.com/") == "connection"  # nobody vouches for the certificate


# --- as transports -----------------------------------------------------------------------------------


def test_a_client_of_httpx_may_have_the_transport(site: Site) -> None:
    with httpx.Client(transport=SafeTransport(resolver=names), trust_env=False, follow_redirects=True) as client:
        assert client.post("http://example.com/", content=b"x").text == "a page"
        with pytest.raises(UnsafeURL):
            client.get("http://example.com/moved?http://127.0.0.1/")
        with client.stream("GET", "http://example.com/packed") as response:
            assert b"".join(response.iter_bytes()) == b"a page"


def test_a_transport_takes_no_credentials_in_a_url(site: Site) -> None:
    with pytest.raises(UnsafeURL) as refused:
        SafeTransport(resolver=names).handle_request(httpx.Request("GET", "http://ana:pw@example.com/"))
    assert refused.value.rule == "credentials"


def test_an_async_client_of_httpx_may_have_the_transport(site: Site) -> None:
    async def ask() -> str:
        async with httpx.AsyncClient(transport=AsyncSafeTransport(resolver=names), trust_env=False) as client:
            with pytest.raises(UnsafeURL):
                await client.get("http://127.0.0.1/")
            return (await client.get("http://example.com/")).text

    assert asyncio.run(ask()) == "a page"


def test_the_reason_is_for_the_log_and_nothing_secret_with_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsafeURL), httpx.Client(transport=SafeTransport(resolver=names), trust_env=False) as client:
        client.get("http://127.0.0.1/?token=secret")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "django_secure_auth.safe_fetch"]
    assert line == "A fetch was refused (loopback): host '127.0.0.1'"
