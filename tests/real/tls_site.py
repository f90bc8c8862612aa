"""The example project in production on a real https name, and strangers on names of their own beside it.

The server speaks TLS itself, with a certificate made for the occasion; a Chromium started with `chromium_arguments()`
finds the names on this machine. So origins, sites, `__Host-` cookies and SameSite are what they are on the web.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.contrib.auth.hashers import Argon2PasswordHasher

from tests.real.deployment import Program, User, new_key, passed_on
from tests.real.postoffice import PostOffice
from tests.real.waiting import free_port

APP, FRONT, SIBLING, STRANGER = "app.site.test", "front.site.test", "evil.site.test", "attacker.test"
"""`site.test` is one site: app, front and sibling are same-site and of three origins, the stranger is of another."""


@dataclass(frozen=True)
class Certificate:
    """A self-made certificate and its key, as files: for these names, for a day."""

    chain: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, *names: str) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        files = cls(folder / "chain.pem", folder / "key.pem")
        files.chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


@dataclass
class TLSSite:
    """The running site. It listens on `port`; whoever asks for `https://<name>` must be led there."""

    folder: Path
    name: str
    certificate: Certificate
    post: PostOffice
    port: int = field(default_factory=free_port)
    web: Program | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{self.name}"

    @property
    def database(self) -> Path:
        return self.folder / "site.sqlite3"

    def start(self) -> None:
        env = {
            **passed_on(),
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "DEBUG": "0",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "SECURE_AUTH_SIGNING_KEYS": f"s1:{new_key()}",
            "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{new_key()}",
            "ALLOWED_HOSTS": self.name,
            "BASE_URL": self.url,
            "HTTPS_ONLY": "1",
            "TRUSTED_PROXIES": "0",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.post.port}",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "CACHE_URL": "locmemcache://",
            "CELERY_BROKER_URL": "",
            **self.environment,
        }
        done = subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
            cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        command = [
            sys.executable, "-m", "uvicorn", "testproject.asgi:application", "--port", str(self.port),
            "--ssl-certfile", str(self.certificate.chain), "--ssl-keyfile", str(self.certificate.key),
        ]  # fmt: skip
        self.web = Program("tls-site", command, env=env, folder=self.folder)
        self.web.wait_until_says("Uvicorn running")

    def stop(self) -> None:
        if self.web is not None:
            self.web.stop()

    # --- what is behind

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def make_user(self, name: str = "ana") -> User:
        email = f"{name}-{secrets.token_hex(4)}@example.com"
        password = secrets.token_urlsafe(16)
        ((number,),) = self.rows(
            "INSERT INTO auth_user (username, email, password, first_name, last_name, is_active, is_staff,"
            " is_superuser, date_joined) VALUES (?, ?, ?, '', '', true, false, false, ?) RETURNING id",
            email, email, Argon2PasswordHasher().encode(password, secrets.token_hex(12)), datetime.now(UTC).isoformat(),
        )  # fmt: skip
        return User(int(number), email, password)

    def events(self, name: str) -> int:
        return int(self.rows("SELECT count(*) FROM django_secure_auth_securityevent WHERE event = ?", name)[0][0])

    @property
    def log(self) -> str:
        """What the server has said, a line for each request among it: `"GET /path/ HTTP/1.1" 200 OK`."""
        assert self.web is not None
        return self.web.log


@contextlib.contextmanager
def tls_site(folder: Path, *, name: str = APP, **environment: str) -> Iterator[TLSSite]:
    """Run the example project with DEBUG=0 at `https://<name>`; `environment` is what its settings read."""
    with contextlib.ExitStack() as stack:
        post = PostOffice()
        post.start()
        stack.callback(post.stop)
        site = TLSSite(folder, name, Certificate.make(folder, name), post, environment=environment)
        stack.callback(site.stop)
        site.start()
        yield site


# --- strangers ---------------------------------------------------------------------------------------


class _Stranger(BaseHTTPRequestHandler):
    server: _StrangersServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.visited.append((self.headers.get("Host", ""), self.path))
        body = self.server.pages.get(path, "<!doctype html><title>a stranger</title><body>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for value in query.split("&") if path == "/cookies" else ():
            self.send_header("Set-Cookie", value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass  # pytest's output is no access log


class _StrangersServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Stranger)
        self.pages: dict[str, str] = {}
        self.visited: list[tuple[str, str]] = []


@dataclass
class Strangers:
    """A server of empty pages on names that are not ours; what is put into `pages` is served by its path."""

    port: int
    pages: dict[str, str]
    visited: list[tuple[str, str]]


@contextlib.contextmanager
def strangers(folder: Path, *names: str) -> Iterator[Strangers]:
    """Run a TLS server for these names."""
    certificate = Certificate.make(folder, *names)
    server = _StrangersServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Strangers(server.server_address[1], server.pages, server.visited)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def chromium_arguments(ports: Mapping[str, int]) -> list[str]:
    """Lead names to ports of this machine, https's own port included: `{"app.site.test": 8443}`."""
    rules = ",".join(f"MAP {name}:443 127.0.0.1:{port}" for name, port in ports.items())
    return [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
        f"--host-resolver-rules={rules},MAP * ~NOTFOUND", "--ignore-certificate-errors",
    ]  # fmt: skip
