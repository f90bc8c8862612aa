"""The README's commands and quick start as a stranger runs them: clean copies, empty environments, the built wheel.

Each command has its place in COMMANDS: a new one in the README fails here until somebody runs it.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PASSWORD = "correct horse battery staple"
HOST = "127.0.0.1"
START_LIMIT = 60  # seconds
COMMAND_LIMIT = 1200  # seconds; for a command that hangs, not for a machine that is slow
# What a shell of a new user has. Everything else could be a setting of this suite.
KEPT = re.compile(r"PATH|HOME|LANG|LC_\w+|TMPDIR|PIP_\w+|SSL_\w+|REQUESTS_\w+|PYENV_\w+|\w+_proxy|\w+_PROXY")
# Each command of a `console` block, and the test that runs it.
COMMANDS = {
    "make demo": "test_make_demo_serves_the_page",
    "make test": "test_make_test_sets_itself_up",
    "python manage.py check": "project",
    "python manage.py migrate": "project",
}
INLINE_COMMANDS = {"make demo TOUR=1": "test_the_tour_ends_well", "python -m pip install .": "wheel"}

Run = Callable[..., str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def plain_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    own = str(Path(sys.executable).parent)
    kept["PATH"] = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if folder != own)
    return kept | more


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run to the end, without a terminal, and return what it printed; a failure shows it."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=plain_environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=COMMAND_LIMIT,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*command: str | Path, cwd: Path, port: int, log: Path) -> Iterator[str]:
    """Keep the command running until the block is left; yields the address once it answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=plain_environment(PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"it ended:\n{log.read_text(errors='replace')}"
                assert time.monotonic() < deadline, f"it does not answer:\n{log.read_text(errors='replace')}"
                time.sleep(0.1)
        yield f"http://{HOST}:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


# --- what stands in the README


def test_every_command_of_the_readme_is_run_here() -> None:
    lines = [line for block in blocks("console") for line in block.splitlines() if line.strip()]
    assert all(line.startswith("$ ") for line in lines), lines
    assert {line.removeprefix("$ ") for line in lines} == set(COMMANDS)
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    inline = set(re.findall(r"`((?:make|python|pip|scripts/)\b[^`]*)`", prose))
    assert inline - set(COMMANDS) == set(INLINE_COMMANDS)


def test_every_block_of_the_readme_is_of_a_kind_that_is_run_here() -> None:
    """`js` is the same journey as the demo page's, which a browser is driven through in tests/real."""
    languages = re.findall(r"^```(\S*)\n.*?^```$", README, re.MULTILINE | re.DOTALL)
    assert set(languages) <= {"console", "python", "sh", "js"}
    assert len(blocks("sh")) == 1


# --- a clean copy, and a wheel


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """Not pytest's own folders, which are kept: there are three virtual environments in it.

    Nobody waits for their removal, which takes most of a minute.
    """
    folder = tempfile.mkdtemp(prefix="secure-auth-readme-")
    yield Path(folder)
    subprocess.run(
        ["sh", "-c", 'rm -rf "$1" &', "sh", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )


@pytest.fixture(scope="module")
def index(scratch: Path) -> None:
    """Skip when the package index does not answer."""
    pin = re.search(r"^sqlparse==[\w.]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pin is not None
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet", "--retries=1"]
    done = subprocess.run(
        [*command, "--timeout=15", "--dest", scratch / "probe", pin.group()],
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_LIMIT,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        pytest.skip(f"the package index does not answer: {last}")


def project_files() -> list[str]:
    """What a clone would hold, with what is not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_of_the_project(to: Path) -> Path:
    for name in project_files():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def tour(index: None, scratch: Path) -> tuple[Path, str]:
    """A copy in which the tour is the first command of all, and what it printed."""
    copy = copy_of_the_project(scratch / "demo")
    assert not (copy / ".venv").exists()
    return copy, run("make", "demo", "TOUR=1", cwd=copy)


@pytest.fixture(scope="module")
def wheel(index: None, scratch: Path) -> Path:
    source = copy_of_the_project(scratch / "source")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", scratch / "dist", ".", cwd=source)
    (built,) = (scratch / "dist").glob("*.whl")
    return built


@pytest.mark.services
def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in inside}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"django_secure_auth"}
    ours = {name for name in project_files() if name.startswith("django_secure_auth/")}
    assert ours <= inside
    assert "django_secure_auth/py.typed" in inside


# --- make; a class for each, since scripts/run_tests.py gives a class to whichever worker is free


@pytest.mark.services
class TestMakeDemo:
    def test_the_tour_ends_well(self, tour: tuple[Path, str]) -> None:
        _, output = tour
        assert "installing the demo set" in output
        assert "FAILED" not in output

    def test_make_demo_serves_the_page(self, tour: tuple[Path, str], scratch: Path) -> None:
        copy, _ = tour
        port = free_port()  # ARGS is what `make help` names; the README's own port may be taken
        with (
            serving("make", "demo", f"ARGS=--port {port}", cwd=copy, port=port, log=scratch / "demo.log") as address,
            urllib.request.urlopen(f"{address}/", timeout=20) as response,  # noqa: S310  (our own server)
        ):
            assert response.status == http.client.OK
            assert b"<form" in response.read()
        printed = (scratch / "demo.log").read_text()
        assert "ana@example.com" in printed
        assert re.search(r"Password +\S{12,}", printed)


@pytest.mark.services
class TestMakeTest:
    def test_make_test_sets_itself_up(self, index: None, scratch: Path) -> None:
        """`make test` would start this very test again: its set-up runs, and a small part of what it runs."""
        copy = copy_of_the_project(scratch / "test")
        steps = run("make", "-n", "test", cwd=copy).splitlines()
        assert steps == ["scripts/bootstrap dev", ".venv/bin/python scripts/run_tests.py"]
        output = run("make", "test-fast", "ARGS=tests/kit/test_rate.py tests/test_smoke.py", cwd=copy)
        assert "installing the dev set" in output
        assert re.search(r"^\d+ passed in", output, re.MULTILINE), output
        assert "usage: run_tests.py" in run(".venv/bin/python", "scripts/run_tests.py", "--help", cwd=copy)


# --- the quick start


def quick_start() -> tuple[str, str]:
    """The README's additions to settings.py and to urls.py, word for word."""
    python = blocks("python")
    urls = [block for block in python if "urlpatterns" in block]
    settings = [block for block in python if block not in urls]
    assert len(urls) == 1
    assert any("INSTALLED_APPS" in block for block in settings)
    return "\n".join(settings), urls[0]


@pytest.fixture(scope="module")
def project(wheel: Path, scratch: Path) -> tuple[Path, Path]:
    """A new project with the wheel, as the README says; returns its folder and its Python."""
    venv = scratch / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=scratch)
    python = venv / "bin" / "python"
    pins = re.findall(r"^[a-z0-9][\w.-]*==[^\s;\\]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    (scratch / "pins.txt").write_text("\n".join(pins))
    run(python, "-m", "pip", "install", "--quiet", "--constraint", scratch / "pins.txt", wheel, cwd=scratch)
    run(venv / "bin" / "django-admin", "startproject", "shop", cwd=scratch)
    shop = scratch / "shop"
    settings, urls = quick_start()
    with (shop / "shop" / "settings.py").open("a") as file:
        file.write(f"\n{settings}")
    with (shop / "shop" / "urls.py").open("a") as file:
        file.write(f"\n{urls}")
    run(python, "manage.py", "check", cwd=shop)
    run(python, "manage.py", "migrate", cwd=shop)
    make_user = (
        "from django.contrib.auth import get_user_model as m; "
        f"m().objects.create_user('ana', 'ana@example.com', {PASSWORD!r})"
    )
    run(python, "manage.py", "shell", "-c", make_user, cwd=shop)
    return shop, python


@pytest.fixture(scope="module")
def shop(project: tuple[Path, Path], scratch: Path) -> Iterator[tuple[str, Path]]:
    """The project, served; its address, and what its console shows."""
    folder, python = project
    port, log = free_port(), scratch / "shop.log"
    command = (python, "manage.py", "runserver", "--noreload", f"{HOST}:{port}")
    with serving(*command, cwd=folder, port=port, log=log) as address:
        yield address, log


@pytest.mark.services
def test_the_package_comes_from_the_wheel(project: tuple[Path, Path]) -> None:
    folder, python = project
    place = run(python, "-c", "import django_secure_auth; print(django_secure_auth.__file__)", cwd=folder)
    assert Path(place.strip()).is_relative_to(python.parent.parent)


@pytest.mark.services
def test_with_our_admin_in_the_place_of_djangos_the_checks_are_silent(project: tuple[Path, Path]) -> None:
    folder, python = project
    ours = re.search(r'"(django_secure_auth\.apps\.\w+)"', README)
    assert ours is not None
    settings = (folder / "shop" / "settings.py").read_text()
    assert settings.count("'django.contrib.admin'") == 1
    changed = settings.replace("'django.contrib.admin'", repr(ours.group(1)))
    (folder / "shop" / "staff_settings.py").write_text(changed)
    command = ("manage.py", "check", "--fail-level", "WARNING", "--settings", "shop.staff_settings")
    assert "no issues" in run(python, *command, cwd=folder)


@pytest.mark.services
def test_a_first_sign_in_works(shop: tuple[str, Path]) -> None:
    address, console = shop
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def call(path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-CSRF-Token": token} if data is not None else {}
        request = urllib.request.Request(f"{address}/api/auth/{path}", data, headers)  # noqa: S310  # our own server
        try:
            with browser.open(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    _, answer = call("csrf/")
    token = answer["csrf_token"]
    status, answer = call("login/", {"email": "ana@example.com", "password": PASSWORD}, token)
    assert (status, answer["status"]) == (202, "otp_required"), answer
    status, answer = call("otp/approve/", {"otp_code": code_on(console)}, token)
    assert (status, answer["status"]) == (200, "authenticated"), answer
    status, answer = call("me/")
    assert (status, answer["email"]) == (200, "ana@example.com")


@pytest.mark.services
def test_the_curl_commands_sign_in_and_out(shop: tuple[str, Path], tmp_path: Path) -> None:
    """Word for word, but for the address, the password and the code, which is read where the README says it shows."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    address, console = shop
    (script,) = blocks("sh")
    seen = code_on(console, or_none=True)
    code = f"$(sleep 0.5; sed -n 's/^Code: //p' {console} | tail -n 1)"
    for old, new in (("http://127.0.0.1:8000", address), ("…", PASSWORD), ("123456", f"'\"{code}\"'")):
        assert old in script
        script = script.replace(old, new)
    script = re.sub(r"^(post|curl) .*$", r"\g<0>; echo", script, flags=re.MULTILINE)
    answers = [json.loads(line) for line in run("sh", "-eu", "-c", script, cwd=tmp_path).splitlines() if line]
    assert [answer.get("status") for answer in answers] == ["otp_required", "authenticated", None], answers
    assert answers[-1]["email"] == "ana@example.com"
    assert code_on(console) != seen
    # curl 7 puts deleted cookies back into the jar; they are worth nothing any more.
    after = run("curl", "--silent", "--cookie", "cookies.txt", f"{address}/api/auth/me/", cwd=tmp_path)
    assert json.loads(after)["status"] == http.client.UNAUTHORIZED


def code_on(console: Path, *, or_none: bool = False) -> str | None:
    """The newest code on the server's console, where the README says that it shows."""
    deadline = time.monotonic() + 10
    while not (found := re.findall(r"^Code: (\d{6})$", console.read_text(errors="replace"), re.MULTILINE)):
        if or_none:
            return None
        assert time.monotonic() < deadline, console.read_text(errors="replace")
        time.sleep(0.1)
    return str(found[-1])
