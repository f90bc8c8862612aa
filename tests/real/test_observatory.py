"""What the MDN HTTP Observatory says of the example project in production: demo page and API, over TLS."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.deployment import Program, new_key, passed_on
from tests.real.observatory import Scan, scan
from tests.real.tls_site import APP, TLSSite, tls_site
from tests.real.waiting import free_port

pytestmark = [pytest.mark.services, pytest.mark.nightly]


@pytest.fixture(scope="module")
def page_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSSite]:
    with tls_site(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture(scope="module")
def plain_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The same project where people type no `https`: the server of port 80."""
    folder, port = tmp_path_factory.mktemp("plain"), free_port()
    env = {
        **passed_on(),
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "SECURE_AUTH_SIGNING_KEYS": f"s1:{new_key()}",
        "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{new_key()}",
        "ALLOWED_HOSTS": APP,
        "BASE_URL": f"https://{APP}",
        "TRUSTED_PROXIES": "0",
        "EMAIL_URL": "smtp://127.0.0.1:25",
        "DATABASE_URL": f"sqlite:///{folder / 'plain.sqlite3'}",
        "CACHE_URL": "locmemcache://",
        "CELERY_BROKER_URL": "",
    }
    command = [sys.executable, "-m", "uvicorn", "testproject.asgi:application", "--port", str(port)]
    server = Program("plain-site", command, env=env, folder=folder)
    try:
        server.wait_until_says("Uvicorn running")
        yield port
    finally:
        server.stop()


def told(result: Scan) -> dict[str, object]:
    """What a failure shows: all of it, since one header moves several tests."""
    return {"score": result.score, "today": result.score_today, "failed": result.failed, "results": result.results}


def scanned(site: TLSSite, *, plain: int | None = None) -> Scan:
    routes = {f"{APP}:443": site.port} | ({f"{APP}:80": plain} if plain else {})
    result = scan(APP, routes, certificate=site.certificate.chain)
    print(told(result))
    return result


@pytest.mark.control("OBS-redirection")
@pytest.mark.control("OBS-grade")
def test_the_demo_page_passes_every_test_of_the_observatory(page_site: TLSSite, plain_port: int) -> None:
    result = scanned(page_site, plain=plain_port)
    assert result.failed == {}, told(result)
    assert result.results["redirection"] == "redirection-to-https"
    # Of 145: its one script is inline, which has no integrity to state (5), and its name is on no preload list (5).
    assert result.score >= 135, told(result)
    assert result.score_today >= 155, told(result)
    assert result.grade == "A+"


def test_the_api_passes_every_test_of_the_observatory(tmp_path: Path) -> None:
    # TLS alone: over plain http an API refuses instead of redirecting, and the scanner knows redirects only.
    with tls_site(tmp_path, DJANGO_SETTINGS_MODULE="tests.real.api_settings") as site:
        result = scanned(site)
    assert result.failed == {}, told(result)
    assert result.score >= 135, told(result)
    assert result.score_today >= 155, told(result)
    assert result.grade == "A+"
