"""Fetching what a user names, from the internet and from nowhere else (the extra `fetch`: httpx).

A server that fetches a URL for a stranger stands inside: what it may reach, the stranger reaches (SSRF). Looking at the
URL does not help, since a name may mean another address a moment later. So the address is judged where it is used: the
name is looked up once, every answer is judged, and the connection goes to what was judged. Each redirect is a new URL
and a new connection. Source: OWASP SSRF Prevention Cheat Sheet, ASVS 1.3.6 and 15.3.2.
"""

from __future__ import annotations

import codecs
import logging
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, cast

import anyio
import anyio.to_thread
import httpcore
import httpx

from django_secure_auth.kit.addresses import why_not_public

logger = logging.getLogger("django_secure_auth.safe_fetch")

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""`(host, port)` to addresses in text; what it raises is a refusal."""

PORTS = (80, 443)
TIMEOUT = 10.0
MAX_BYTES = 1_000_000
MAX_REDIRECTS = 3
MAX_URL = 2048
_DEFAULT_PORT = {"http": 80, "https": 443}
_OVERHEAD = 128 * 1024  # of headers and chunks; a head of more than 100 KiB httpcore refuses by itself
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_ORIGIN_ONLY = frozenset({"authorization", "cookie", "proxy-authorization"})
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # what a browser takes for a part of an IPv4 address
_USER = re.compile(r"[^:/?#]*:?//[^/?#]*@")
_VISIBLE = re.compile(r"[^\x00-\x20\x7f-\xa0\\\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff]+")


class UnsafeURL(Exception):
    """The URL was not fetched, or not to its end. One message for all reasons: the reason is for the log, as `rule`.

    A stranger who could tell "refused by us" from "nobody answered" could map the network inside.
    """

    def __init__(self, rule: str) -> None:
        super().__init__("This address cannot be fetched.")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class _Limits:
    """What is asked of every hop."""

    allow_hosts: frozenset[str] | None = None
    ports: frozenset[int] = frozenset(PORTS)
    timeout: float = TIMEOUT
    max_bytes: int = MAX_BYTES


def _limits(allow_hosts: Collection[str] | None, ports: Collection[int], timeout: float, max_bytes: int) -> _Limits:
    if isinstance(allow_hosts, str):
        raise TypeError("allow_hosts is a collection of host names, not one.")
    hosts = None if allow_hosts is None else frozenset(map(_entry, allow_hosts))
    return _Limits(hosts, frozenset(ports), timeout, max_bytes)


def _entry(host: str) -> str:
    """Return an entry of a list in the form that URLs are compared in: `bücher.example` is its `xn--` name."""
    dot = "." if host.startswith(".") else ""
    try:
        name = _plain_host(httpx.URL(scheme="https", host=host.removeprefix(".")).raw_host.decode("ascii"))
    except (httpx.InvalidURL, UnicodeError):
        name = ""
    if not (_is_address(name) or all(map(_LABEL.fullmatch, name.split(".")))):
        raise ValueError(f"allow_hosts: {host!r} is no host name.")
    return dot + name


def _plain_host(host: str) -> str:
    return host.lower().removesuffix(".")


# --- the URL -----------------------------------------------------------------------------------------


def _checked(text: str, limits: _Limits) -> httpx.URL:
    """Return the URL, parsed once by the parser that connects. Raises UnsafeURL."""
    if not 0 < len(text) <= MAX_URL or not _VISIBLE.fullmatch(text):
        raise UnsafeURL("characters")
    if _USER.match(text):
        raise UnsafeURL("credentials")  # an empty one too, which the parser drops
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise UnsafeURL("not a URL") from None
    _judge(url, limits)
    return url


def _judge(url: httpx.URL, limits: _Limits) -> None:
    if url.scheme not in _DEFAULT_PORT:
        raise UnsafeURL("scheme")
    if url.userinfo:
        raise UnsafeURL("credentials")
    if _port(url) not in limits.ports:
        raise UnsafeURL("port")
    host = _plain_host(_host_of(url))
    _judge_host(host)
    # An entry that begins with a dot is a domain with all below it.
    if limits.allow_hosts is not None and not any(
        host == one or (one.startswith(".") and host.endswith(one)) for one in limits.allow_hosts
    ):
        raise UnsafeURL("host not allowed")


def _host_of(url: httpx.URL) -> str:
    """Return the host as it is looked up. Raises UnsafeURL for one that httpx parses and then cannot say.

    Such as `xn--a.example`: the parser takes it, and its `host` raises whenever somebody asks, this module's log or the
    caller of an answer.
    """
    try:
        url.host  # noqa: B018  # decodes the name
        return url.raw_host.decode("ascii")
    except UnicodeError:  # idna's own errors are such
        raise UnsafeURL("host") from None


def _judge_host(host: str) -> None:
    """Take a name with a dot, or an address in its usual form. What it means is judged when it is looked up."""
    if _is_address(host):
        _judged([host])
        return
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise UnsafeURL("odd address")  # octal, hexadecimal, short, dotless: each library reads it in its own way
    if len(labels) < 2 or len(host) > 253:  # RFC 1035 §2.3.4
        raise UnsafeURL("host")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise UnsafeURL("host")


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else _DEFAULT_PORT.get(url.scheme, 0)


def _next(url: httpx.URL, response: httpx.Response, limits: _Limits) -> httpx.URL:
    """Return where a redirect leads. Raises UnsafeURL for https to http, and for what no first URL may be."""
    location = response.headers["location"]
    if not _VISIBLE.fullmatch(location):
        raise UnsafeURL("characters")
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise UnsafeURL("not a URL") from None
    if url.scheme == "https" and target.scheme != "https":
        raise UnsafeURL("redirect to plain http")
    return _checked(str(target.copy_with(fragment=None)), limits)


def _is_redirect(response: httpx.Response) -> bool:
    return response.status_code in _REDIRECTS and "location" in response.headers


def _headers_for(target: httpx.URL, source: httpx.URL, headers: Mapping[str, str]) -> dict[str, str]:
    """Credentials stay with their origin (RFC 9110 §15.4)."""
    is_same = (target.scheme, target.raw_host, _port(target)) == (source.scheme, source.raw_host, _port(source))
    return {name: value for name, value in headers.items() if is_same or name.lower() not in _SAME_ORIGIN_ONLY}


# --- the address -------------------------------------------------------------------------------------


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _judged(texts: Sequence[str]) -> list[Address]:
    """Return the addresses. Raises UnsafeURL when one of them is not public: the next answer may be that one alone."""
    addresses: list[Address] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            raise UnsafeURL("name look-up") from None
        rule = why_not_public(address)
        if rule is not None:
            raise UnsafeURL(rule)
        addresses.append(address)
    if not addresses:
        raise UnsafeURL("name look-up")
    return addresses


@dataclass(slots=True)
class _Budget:
    """Time and bytes of one hop, for every read and write."""

    seconds: float
    bytes_left: int
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def time_left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise UnsafeURL("time")
        return left

    def spend(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise UnsafeURL("size")


def _look_up_in_time(resolver: Resolver, host: str, port: int, budget: _Budget) -> list[Address]:
    """A look-up of the system cannot be stopped: it is left alone in its thread when the time is up."""
    answers: list[Sequence[str]] = []
    if _is_address(host):
        return _judged([host])

    def ask() -> None:
        try:
            answers.append(resolver(host, port))
        except Exception as error:  # whatever a resolver of the project's raises: there is no address
            logger.debug("A name could not be looked up: %s", type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(budget.time_left())
    budget.time_left()
    return _judged(answers[0] if answers else ())


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


# Then the next address of a name is tried: all of them were judged by then, and share the time.
_UNREACHED = (httpcore.ConnectError, httpcore.ConnectTimeout)


def _is_peer(stream: Any, address: Address) -> bool:
    peer = stream.get_extra_info("server_addr")
    return isinstance(peer, tuple) and ip_address(str(peer[0])) == address


# --- blocking ----------------------------------------------------------------------------------------


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._budget.time_left())
        self._budget.spend(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._budget.time_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._budget.time_left()), self._budget)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects to what it has judged, and to nothing else."""

    def __init__(self, resolver: Resolver, budget: _Budget) -> None:
        self._resolver, self._budget = resolver, budget
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        *others, last = _look_up_in_time(self._resolver, host, port, self._budget)
        for tried, address in enumerate(others):
            with suppress(*_UNREACHED):
                return self._connect(address, port, self._budget.time_left() / (len(others) + 1 - tried))
        return self._connect(last, port, self._budget.time_left())

    def _connect(self, address: Address, port: int, seconds: float) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(str(address), port, seconds)
        if not _is_peer(stream, address):
            stream.close()
            raise UnsafeURL("peer")
        return _Stream(stream, self._budget)


class _Body(httpx.SyncByteStream):
    """The decoded body, bounded; closes the connection with it."""

    def __init__(self, parts: Iterable[bytes], pool: httpcore.ConnectionPool, decoder: _Decoder) -> None:
        self._parts, self._pool, self._decoder = parts, pool, decoder

    def __iter__(self) -> Iterator[bytes]:
        with _told():
            for part in self._parts:
                yield from self._decoder.decode(part)
            self._decoder.finish()

    def close(self) -> None:
        self._pool.close()


class SafeTransport(httpx.BaseTransport):
    """A transport for `httpx.Client(transport=SafeTransport(), trust_env=False)`: judges every request and connection.

    One connection for each request, none is kept. With `follow_redirects` of httpx each hop is judged as well, but
    https to http is not refused, and cookies are kept: `safe_get` is stricter.
    """

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] | None = None,
        ports: Collection[int] = PORTS,
        timeout: float = TIMEOUT,
        max_bytes: int = MAX_BYTES,
        resolver: Resolver = _look_up,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = _limits(allow_hosts, ports, timeout, max_bytes)
        self._resolver = resolver
        self._ssl_context = ssl_context

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises UnsafeURL for whatever goes wrong."""
        with _told(request.url):
            return self._send(request, _Budget(self._limits.timeout, self._limits.max_bytes + _OVERHEAD))

    def _send(self, request: httpx.Request, budget: _Budget) -> httpx.Response:
        _judge(request.url, self._limits)
        pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(self._ssl_context, request.url),
            max_connections=1,
            http2=False,
            network_backend=_Backend(self._resolver, budget),
        )
        try:
            answer = pool.handle_request(_core_request(request))
            decoder = _Decoder.of(request.method, answer.headers, self._limits.max_bytes)
        except BaseException:
            pool.close()
            raise
        body = _Body(cast("Iterable[bytes]", answer.stream), pool, decoder)
        return _response(answer.status, answer.headers, body)


def safe_get(
    url: str,
    *,
    allow_hosts: Collection[str] | None = None,
    ports: Collection[int] = PORTS,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    max_redirects: int = MAX_REDIRECTS,
    headers: Mapping[str, str] | None = None,
    resolver: Resolver = _look_up,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.Response:
    """Fetch a URL that a stranger named, and return the answer with its whole body, decoded.

    `allow_hosts` narrows to these names (`".example.com"` is all below a domain); it opens nothing: a listed name with
    a private address is refused. `timeout` is the seconds for everything together, look-ups and redirects included,
    `max_bytes` the decoded body's. Redirects are followed at most `max_redirects` times, never from https to http;
    `Authorization` and `Cookie` stay with their origin. Nothing is read from the environment: no proxy, no netrc.

    Raises UnsafeURL for every refusal and every failure; what the host answers, a 404 too, is an answer. ValueError for
    an entry of `allow_hosts` that is no name.
    """
    end = time.monotonic() + timeout
    with _told():
        limits = _limits(allow_hosts, ports, timeout, max_bytes)
        here, sent = _checked(url, limits), dict(headers or {})
        for _ in range(max_redirects + 1):
            transport = SafeTransport(
                allow_hosts=allow_hosts, ports=ports, timeout=_left(end), max_bytes=max_bytes, resolver=resolver,
                ssl_context=ssl_context,
            )  # fmt: skip
            request = httpx.Request("GET", here, headers={**_SENT, **sent})
            response = transport.handle_request(request)
            response.request = request
            try:
                if not _is_redirect(response):
                    response.read()
                    return response
            finally:
                response.close()
            target = _next(here, response, limits)
            here, sent = target, _headers_for(target, here, sent)
        raise UnsafeURL("redirects")


# --- async -------------------------------------------------------------------------------------------


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's
        data = await self._stream.read(max_bytes, self._budget.time_left())
        self._budget.spend(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # httpcore's
        await self._stream.write(buffer, self._budget.time_left())

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, self._budget.time_left())
        return _AsyncStream(stream, self._budget)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, resolver: Resolver, budget: _Budget) -> None:
        self._resolver, self._budget = resolver, budget
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        look_up = partial(_look_up_in_time, self._resolver, host, port, self._budget)
        *others, last = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True)
        for tried, address in enumerate(others):
            with suppress(*_UNREACHED):
                return await self._connect(address, port, self._budget.time_left() / (len(others) + 1 - tried))
        return await self._connect(last, port, self._budget.time_left())

    async def _connect(self, address: Address, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
        return await self._watched(await self._sockets.connect_tcp(str(address), port, seconds), address)

    async def _watched(self, stream: httpcore.AsyncNetworkStream, address: Address) -> httpcore.AsyncNetworkStream:
        if not _is_peer(stream, address):
            await stream.aclose()
            raise UnsafeURL("peer")
        return _AsyncStream(stream, self._budget)


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, parts: AsyncIterable[bytes], pool: httpcore.AsyncConnectionPool, decoder: _Decoder) -> None:
        self._parts, self._pool, self._decoder = parts, pool, decoder

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _told():
            async for part in self._parts:
                for piece in self._decoder.decode(part):
                    yield piece
            self._decoder.finish()

    async def aclose(self) -> None:
        await self._pool.aclose()


class AsyncSafeTransport(httpx.AsyncBaseTransport):
    """`SafeTransport` for `httpx.AsyncClient`."""

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] | None = None,
        ports: Collection[int] = PORTS,
        timeout: float = TIMEOUT,
        max_bytes: int = MAX_BYTES,
        resolver: Resolver = _look_up,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = _limits(allow_hosts, ports, timeout, max_bytes)
        self._resolver = resolver
        self._ssl_context = ssl_context

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises UnsafeURL for whatever goes wrong."""
        with _told(request.url):
            return await self._send(request, _Budget(self._limits.timeout, self._limits.max_bytes + _OVERHEAD))

    async def _send(self, request: httpx.Request, budget: _Budget) -> httpx.Response:
        _judge(request.url, self._limits)
        pool = httpcore.AsyncConnectionPool(
            ssl_context=_ssl_context(self._ssl_context, request.url),
            max_connections=1,
            http2=False,
            network_backend=_AsyncBackend(self._resolver, budget),
        )
        try:
            answer = await pool.handle_async_request(_core_request(request))
            decoder = _Decoder.of(request.method, answer.headers, self._limits.max_bytes)
        except BaseException:
            await pool.aclose()
            raise
        body = _AsyncBody(cast("AsyncIterable[bytes]", answer.stream), pool, decoder)
        return _response(answer.status, answer.headers, body)


async def safe_aget(
    url: str,
    *,
    allow_hosts: Collection[str] | None = None,
    ports: Collection[int] = PORTS,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # the promise is safe_get's: one number for the whole
    max_bytes: int = MAX_BYTES,
    max_redirects: int = MAX_REDIRECTS,
    headers: Mapping[str, str] | None = None,
    resolver: Resolver = _look_up,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.Response:
    """`safe_get` for async code, with the same arguments, answers and refusals."""
    end = time.monotonic() + timeout
    with _told():
        limits = _limits(allow_hosts, ports, timeout, max_bytes)
        here, sent = _checked(url, limits), dict(headers or {})
        for _ in range(max_redirects + 1):
            transport = AsyncSafeTransport(
                allow_hosts=allow_hosts, ports=ports, timeout=_left(end), max_bytes=max_bytes, resolver=resolver,
                ssl_context=ssl_context,
            )  # fmt: skip
            request = httpx.Request("GET", here, headers={**_SENT, **sent})
            response = await transport.handle_async_request(request)
            response.request = request
            try:
                if not _is_redirect(response):
                    await response.aread()
                    return response
            finally:
                await response.aclose()
            target = _next(here, response, limits)
            here, sent = target, _headers_for(target, here, sent)
        raise UnsafeURL("redirects")


# --- both --------------------------------------------------------------------------------------------

_SENT = {"Accept": "*/*", "User-Agent": "django-secure-auth"}
# Python's names of the WHATWG Encoding Standard's, as far as Python has them.
_CHARSETS = frozenset(
    "ascii utf-8 utf-16 utf-16-le utf-16-be koi8-r koi8-u mac-roman mac-cyrillic cp866 cp874 shift_jis cp932 euc_jp"
    " iso2022_jp euc_kr cp949 gb2312 gbk gb18030 big5 big5hkscs".split()
) | {f"iso8859-{n}" for n in range(1, 17)} | {f"cp125{n}" for n in range(9)}  # fmt: skip
_FAILURES = (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException,
             httpcore.UnsupportedProtocol, ssl.SSLError, OSError, zlib.error)  # fmt: skip


class _told:  # reads as a statement: `with _told(url):`
    """Every refusal and failure is one UnsafeURL; the rule goes to the log, and of the URL no more than its host."""

    def __init__(self, url: httpx.URL | None = None) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, UnsafeURL):
            if self._url is not None:
                logger.warning("A fetch was refused (%s): host %r", error.rule, _shown(self._url))
        elif isinstance(error, _FAILURES):
            logger.info("A fetch failed: %s", type(error).__name__)
            rule = "time" if isinstance(error, httpcore.TimeoutException) else "connection"
            raise UnsafeURL(rule) from None


def _shown(url: httpx.URL) -> str:
    try:
        return _host_of(url)[:100]
    except UnsafeURL:
        return "unreadable"


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise UnsafeURL("time")
    return left


def _ssl_context(own: ssl.SSLContext | None, url: httpx.URL) -> ssl.SSLContext | None:
    # Reading the authorities takes tens of milliseconds: plain http does without.
    return own or (httpx.create_ssl_context(trust_env=False) if url.scheme == "https" else None)


def _core_request(request: httpx.Request) -> httpcore.Request:
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"accept-encoding"]
    url = httpcore.URL(
        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
    )
    # Only what is decoded below, with a bound.
    return httpcore.Request(
        request.method, url, headers=[*headers, (b"Accept-Encoding", b"gzip")], content=request.stream
    )


def _plain_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    # The body is handed on decoded.
    return [(name, value) for name, value in headers if name.lower() not in {b"content-encoding", b"content-length"}]


def _response(status: int, headers: Iterable[tuple[bytes, bytes]], body: Any) -> httpx.Response:
    """Return the answer, with a `text` that can be asked for whatever `charset` the host has named.

    httpx hands the name to Python's codecs, and some of those are no character sets: `hex` and `idna` raise, `zlib`
    unpacks without a bound where Python runs with -O.
    """
    response = httpx.Response(status, headers=_plain_headers(headers), stream=body)
    if not _is_charset(response):
        response.encoding = "utf-8"
    return response


def _is_charset(response: httpx.Response) -> bool:
    try:
        return codecs.lookup(response.charset_encoding or "utf-8").name in _CHARSETS
    except (LookupError, ValueError):  # no such codec, or a parameter that the parser of headers gives up on
        return False


class _Decoder:
    """Unpacks gzip in pieces, so that a bomb costs no more than the bound."""

    _PIECE = 65_536

    def __init__(self, *, is_packed: bool, max_bytes: int) -> None:
        self._unpack = zlib.decompressobj(31) if is_packed else None
        self._left = max_bytes
        self._is_begun = False

    @classmethod
    def of(cls, method: str, headers: Iterable[tuple[bytes, bytes]], max_bytes: int) -> _Decoder:
        """Raises UnsafeURL for a body that says it is too long, or is packed in a way that nobody asked for."""
        encodings = []
        for name, value in headers:
            if name.lower() == b"content-encoding":
                encodings.append(value.strip().lower())
            elif name.lower() == b"content-length" and int(value) > max_bytes and method != "HEAD":
                raise UnsafeURL("size")
        if encodings not in ([], [b"identity"], [b"gzip"], [b"x-gzip"]):
            raise UnsafeURL("encoding")
        return cls(is_packed=encodings[-1:] in ([b"gzip"], [b"x-gzip"]), max_bytes=max_bytes)

    def decode(self, part: bytes) -> Iterator[bytes]:
        if self._unpack is None:
            yield self._counted(part)
            return
        self._is_begun = self._is_begun or bool(part)
        while part and not self._unpack.eof:
            yield self._counted(self._unpack.decompress(part, self._PIECE))
            part = self._unpack.unconsumed_tail

    def finish(self) -> None:
        # Nothing at all is no body: of HEAD, of 204, of hosts that name a packing all the same.
        if self._unpack is not None and self._is_begun and not self._unpack.eof:
            raise UnsafeURL("encoding")  # cut off

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise UnsafeURL("size")
        return data
