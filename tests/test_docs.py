"""The docs and the code name the same things, in both directions; made pages are as they would be made now."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import get_commands
from django.dispatch import Signal
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission

import django_secure_auth
from django_secure_auth import exceptions, kit, models, signals, strict, tasks, testing, urls
from django_secure_auth.audit.events import registered
from django_secure_auth.conf import DEFAULT_RATE_LIMITS, DEFAULT_WHEN_AWAY, Conf, declared
from django_secure_auth.kit.apikeys import api_key_pattern
from django_secure_auth.routes import Route, routes
from django_secure_auth.strict import fields, parsers, serializers

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGE = Path(django_secure_auth.__file__).resolve().parent
PAGES = sorted(DOCS.glob("*.md"))
PROSE = [*PAGES, *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
SLICES = sorted(folder.parent.name for folder in PACKAGE.glob("*/__init__.py") if folder.parent.name != "kit")
SLICES = [name for name in SLICES if name not in {"management", "migrations", "templatetags"}]

# Modules that are a feature of their own, with a page like a slice's.
FEATURES = ["decorators", "routes"]

# Codes that DRF's own exceptions bring along.
FOREIGN_CODES = {"method_not_allowed", "not_acceptable"}


@cache
def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """The part of a page below a heading, up to the next one of its level."""
    match = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]


def in_first_cells(text: str) -> set[str]:
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


def all_docs() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in PAGES)


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- made pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["settings.md", "events.md", "regressions.md", "controls.md"])
def test_a_made_page_is_up_to_date(name: str) -> None:
    made = generator().PAGES[name]()
    assert read(name) == made, f"run `python scripts/make_docs.py`: docs/{name} is not up to date"


def test_every_made_page_is_compared() -> None:
    assert set(generator().PAGES) == {"settings.md", "events.md", "regressions.md", "controls.md"}


# Areas in which each control of the package's own has a test, or a reason why none shows it; of level 1 in all areas.
ACCOUNTED_AREAS = {"account-recovery", "mfa-otp", "password", "registration", "session"}


def marked_controls() -> set[str]:
    make = generator()
    return {control for _name, _node, marks in make.test_functions() for control in make.controls_in(marks)}


def test_a_control_of_level_one_or_of_these_areas_is_shown_by_a_test_or_has_a_reason_why_not() -> None:
    ours = [
        row["id"]
        for row in generator().rows_of("controls.csv")
        if (row["area"] in ACCOUNTED_AREAS or row["level"] == "L1") and row["status"] == ""
    ]
    reasons = {row["id"] for row in generator().rows_of("controls-not-shown.csv")}
    assert set(ours) - marked_controls() - reasons == set()


def test_no_control_has_both_and_each_reason_stands_once_in_one_line() -> None:
    reasons = generator().rows_of("controls-not-shown.csv")
    ids = [row["id"] for row in reasons]
    assert len(set(ids)) == len(ids)
    assert set(ids) & marked_controls() == set()
    assert all(row["reason"].endswith(".") and "\n" not in row["reason"] for row in reasons)


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("Nothing of the kind, by RFC 9700.", []),
        ("R8: judged.", [8]),
        ("R8, R17,R49: judged.", [8, 17, 49]),
        ("R8. Judged.", None),
        ("R8, also here: judged.", None),
        ("R8: as R17.", None),
        ("Judged (R8).", None),
    ],
)
def test_a_regression_that_a_docstring_names_in_another_form_is_not_dropped(
    docstring: str, numbers: list[int] | None
) -> None:
    node = ast.parse(f"def test():\n    {docstring!r}").body[0]
    if numbers is None:
        with pytest.raises(LookupError, match="test_x"):
            generator().regressions_in("test_x", node)
    else:
        assert generator().regressions_in("test_x", node) == numbers


# --- names, in both directions -----------------------------------------------------------------------


@pytest.mark.control("ASVS-6.1.1")
def test_settings_are_documented_and_documented_settings_exist() -> None:
    documented = {name for name in in_first_cells(read("settings.md")) if name.isupper()}
    assert documented == {setting.name for setting in declared()}
    limits = section(read("settings.md"), "The limits of `RATE_LIMITS`")
    assert in_first_cells(limits) == set(DEFAULT_RATE_LIMITS)
    assert in_first_cells(section(read("ratelimit.md"), "How it works")) == set(DEFAULT_RATE_LIMITS)
    # … and why nobody is locked out by a stranger.
    assert "a stranger cannot use up the budget" in section(read("ratelimit.md"), "The claim")


def test_settings_that_a_slice_page_names_exist_and_each_is_named_by_one() -> None:
    ours = {setting.name for setting in declared()}
    named: set[str] = set()
    for slice_name in [*SLICES, *FEATURES]:
        page = read(f"{slice_name}.md")
        text = section(page, "Settings") or section(page, "Settings, signals, codes").partition("Signals")[0]
        listed = set(re.findall(r"`([A-Z][A-Z_]{3,})`", text))
        assert listed <= ours, f"docs/{slice_name}.md names {sorted(listed - ours)}"
        named |= listed
    assert named == ours


def test_signals_are_documented_and_documented_signals_exist() -> None:
    documented: set[str] = set()
    for slice_name in SLICES:
        documented |= in_first_cells(section(read(f"{slice_name}.md"), "Signals"))
    assert documented == {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def test_error_codes_are_documented_and_documented_codes_exist() -> None:
    classes = [value for value in vars(exceptions).values() if isinstance(value, type)]
    ours = {one.code: one.status_code for one in classes if issubclass(one, exceptions.SecureAuthError)}
    documented = {row[1].strip("`"): int(row[0]) for row in rows(read("errors.md")) if row[0].isdigit()}
    assert documented.keys() == ours.keys() | FOREIGN_CODES
    assert {code: documented[code] for code in ours} == ours


def test_events_are_documented_and_documented_events_exist() -> None:
    assert in_first_cells(read("events.md")) == registered().keys()
    for path in PAGES:
        named = re.findall(r"[Ee]vents?:? [^\n]*?`([a-z]+_[a-z_]+)`", path.read_text(encoding="utf-8"))
        assert {name for name in named if name.startswith(("authn_", "excess_", "malicious_"))} <= registered().keys()


def check_ids() -> set[str]:
    """The ids that the package can give, from its calls of `error(number, …)` and `warning(number, …)`.

    They stand in files called checks.py, and the doctor's in one file for each part of the checklist.
    """
    letters = {"error": "E", "info": "I", "warning": "W"}
    found: set[str] = set()
    for page in sorted({*PACKAGE.rglob("checks.py"), *PACKAGE.glob("doctor/*.py")}):
        for node in ast.walk(ast.parse(page.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in letters:
                number = node.args[0]
                assert isinstance(number, ast.Constant)
                assert isinstance(number.value, int)
                found.add(f"secure_auth.{letters[node.func.id]}{number.value:03d}")
    return found


def test_checks_are_documented_and_documented_checks_exist() -> None:
    assert (
        in_first_cells(read("checks.md")) & set(re.findall(r"secure_auth\.[EIW]\d{3}", read("checks.md")))
        == check_ids()
    )
    named = set(re.findall(r"secure_auth\.[EIW]\d{3}", all_docs() + (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named == check_ids()


def test_urls_are_documented_and_documented_urls_exist() -> None:
    table = section(read("accounts.md"), "Endpoints")
    documented = {(row[1].strip("`"), re.findall(r"`([^`]+)`", row[0])[0]) for row in rows(table) if "`" in row[0]}
    ours = {(str(one.name), re.sub(r"<uuid:\w+>", "<uuid>", str(one.pattern))) for one in urls.urlpatterns}
    assert documented == ours


def test_methods_are_documented_and_documented_methods_exist() -> None:
    table = section(read("accounts.md"), "Endpoints")
    documented = {(row[1].strip("`"), row[0].split()[0]) for row in rows(table) if "`" in row[0]}
    ours = {
        (str(one.name), method.upper())
        for one in urls.urlpatterns
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(getattr(one.callback, "view_class", None), method)
    }
    assert documented == ours


def in_words(route: Route) -> str:
    """Who may call a route, as the table of endpoints says it."""
    said = {"recently signed in": "signed in, recent", "the user in person": "signed in"}
    if route.who in said:
        return said[route.who]
    holders = ("challenge", "refresh", "mailed link")
    held = [one for one in holders if f"the holder of a {one}" in route.reason]
    return f"holder of {held[0]}" if held else route.who


@pytest.mark.control("ASVS-8.1.1")
def test_who_may_call_an_endpoint_is_documented_as_it_is() -> None:
    table = section(read("accounts.md"), "Endpoints")
    documented = {}
    for row in rows(table):
        if "`" in row[0]:
            who = re.sub(r"^holder of (?:the |a )?(challenge|refresh|mailed link).*", r"holder of \1", row[2])
            who = re.sub(r"[,;] (?!recent).*", "", who)
            documented[row[1].strip("`"), row[0].split()[0]] = (who, row[3] == "yes")
    ours = {
        (one.name, method): (in_words(one), method != "GET" and one.csrf in {"enforced", "by authentication"})
        for one in routes("django_secure_auth.urls")
        for method in one.methods
    }
    assert documented == ours


@pytest.mark.control("ASVS-8.1.1")
def test_the_rules_of_rows_and_of_roles_have_pages() -> None:
    """Whose rows are whose, what a role carries, and what a key may do."""
    for page, names in {
        "ownership.md": {"secure_auth_owner", "IsOwner", "OwnedQuerySet", "OwnedViewMixin"},
        "rbac.md": {"HasRole", "HasAnyRole", "HasPermission", "RecentlyAuthenticated"},
        "apikeys.md": {"HasScope", "API_KEY_SCOPES"},
    }.items():
        assert names <= set(re.findall(r"\w+", read(page))), page


@pytest.mark.control("ASVS-6.1.1", "ASVS-2.1.3")
def test_each_limit_is_documented_with_its_default_and_what_it_does_without_its_cache() -> None:
    documented = {
        row["limit"].strip("`"): (row["default"].strip("`"), row["when the cache is away"])
        for row in documented_table(section(read("ratelimit.md"), "How it works"), "limit")
    }
    words = {"closed": "503", "open": "let pass"}
    assert documented == {name: (rate, words[DEFAULT_WHEN_AWAY[name]]) for name, rate in DEFAULT_RATE_LIMITS.items()}


@pytest.mark.control("ASVS-6.1.1")
def test_what_holds_against_guessing_is_on_one_page_with_every_setting_that_moves_it() -> None:
    page = read("ratelimit.md")
    shown = {
        row["setting"].strip("`"): row["default"].strip("`")
        for row in documented_table(section(page, "Against guessing, all together"), "setting")
    }
    generated = {row[0].strip("`"): row[2].strip("`") for row in rows(read("settings.md")) if len(row) > 2}
    wanted = r"OTP_(ACCOUNT_|RESEND|ATT)|RATE_LIMIT|TRUSTED_PROX|BREACHED_PASSWORDS|MAX_"
    related = {one.name for one in declared() if re.match(wanted, one.name)}
    assert set(shown) == related
    assert {name: default for name, default in shown.items() if default != "see above"} == {
        name: generated[name] for name, default in shown.items() if default != "see above"
    }
    assert "Lock the owner out" in section(page, "Attack → rule → code")


def test_commands_are_documented_and_documented_commands_exist() -> None:
    ours = {name for name, app in get_commands().items() if app == "django_secure_auth"}
    assert set(re.findall(r"^## `([a-z_]+)`$", read("commands.md"), re.MULTILINE)) == ours
    # Another page may name a command that is still to come only where it says so.
    named = set(re.findall(r"manage\.py (secure_auth_[a-z]+)", all_docs()))
    assert named <= ours


def test_the_expression_for_secret_scanners_is_the_one_that_finds_keys() -> None:
    (published,) = re.findall(r"^```text\n(.+)\n```$", section(read("apikeys.md"), "For secret scanners"), re.MULTILINE)
    assert published == api_key_pattern(Conf.API_KEY_PREFIX.default)


def test_mail_templates_that_are_documented_exist() -> None:
    for kind in ("subject.txt", "txt", "html"):
        assert (PACKAGE / "templates" / "django_secure_auth" / "mail" / f"otp_code.{kind}").is_file()


def documented_table(text: str, first: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has this name."""
    header: list[str] = []
    found = []
    for cells in rows(text.replace("|---", "| ---")):
        if cells[0] == first:
            header = cells
        elif header and len(cells) == len(header):
            found.append(dict(zip(header, cells, strict=True)))
    return found


@pytest.mark.control("ASVS-6.1.3")
def test_every_way_in_is_in_one_table_with_what_it_asks_for_and_its_strength() -> None:
    part = section(read("accounts.md"), "Ways in")
    table = documented_table(part, "way in")
    assert all(all(row.values()) for row in table)
    named = {name for row in table for name in re.findall(r"`([^`]+)`", row["by"])}
    doors = {"JWTCookieAuthentication", "APIKeyAuthentication", "SecureAdminSite", "log_in()"}
    documented = {path.rpartition(".")[2] for path in public_paths()}
    assert {name for name in documented if name.endswith("Authentication")} <= doors
    opens = {"login", "otp-approve", "register", "register-verify", "refresh"}
    assert named == doors | opens
    # Whoever is nobody yet can call these; each is a way in, or is told to be none.
    open_to_strangers = {
        row[1].strip("`")
        for row in rows(section(read("accounts.md"), "Endpoints"))
        if row[2].startswith(("anyone", "holder"))
    }
    told = set(re.findall(r"`([a-z-]+)`", part.rpartition("|")[2]))
    assert open_to_strangers - opens - told == {"csrf", "otp-resend", "logout", "password-reset", "jwks"}


@pytest.mark.control("ASVS-7.1.1")
def test_the_limits_of_sessions_are_compared_with_nists_as_they_are() -> None:
    unit = {"min": "minutes", "h": "hours", "d": "days"}
    table = documented_table(section(read("sessions.md"), "How it works"), "limit")
    assert len(table) == 4
    for row in table:
        setting = getattr(Conf, row["limit"].strip("`"))
        number, of = row["default"].split()
        assert setting.default == timedelta(**{unit[of]: int(number)})
        assert setting.judge(timedelta(days=30)) is None
        assert setting.judge(timedelta(days=30, seconds=1)) is not None
    assert [row["AAL2"] for row in table] == ["1 h", "24 h", "1 h", "24 h"]


# --- public paths ------------------------------------------------------------------------------------

TOP = "|".join(sorted({path.stem for path in PACKAGE.iterdir() if not path.stem.startswith("_")} - {"py"}))
PATH = re.compile(rf"`(?:django_secure_auth\.)?((?:{TOP})(?:\.[A-Za-z_]\w*)+)`")
NOT_PATHS = {"mail.outbox"}  # Django's, not ours


def documented_paths() -> set[str]:
    """Everything in backticks, in prose and in tables, that begins like a module of the package."""
    text = all_docs() + (ROOT / "README.md").read_text(encoding="utf-8")
    found = set(PATH.findall(text)) | set(re.findall(r'"django_secure_auth\.([\w.]+)"', text))
    return {path for path in found if not path.endswith((".txt", ".py", ".md"))}


def resolve(path: str) -> Any:
    names = path.split(".")
    for count in range(len(names), 0, -1):
        name = ".".join(("django_secure_auth", *names[:count]))
        try:
            thing: Any = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for attribute in names[count:]:
            thing = getattr(thing, attribute)
        return thing
    raise LookupError(path)


def defined_in(module: ModuleType) -> set[str]:
    """Public functions and classes that a module defines, also behind a cache."""
    plain = {name: inspect.unwrap(value) for name, value in vars(module).items() if not name.startswith("_")}
    return {
        name
        for name, value in plain.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
    }


def public_paths() -> set[str]:
    """What the package offers: its kit, its DRF and middleware classes, its doors, its test tools."""
    found = {
        "openapi.AutoSchema",
        "problems.exception_handler",
        "apps.SecureAdminConfig",
        "accounts.models.AbstractEmailUser",
    }
    found |= {f"accounts.services.{name}" for name in ("log_in", "log_out", "copy_cookies")}
    found |= {f"models.{name}" for name in models.__all__} | {f"tasks.{name}" for name in tasks.__all__}
    found |= {f"testing.{name}" for name in testing.__all__} | {f"strict.{name}" for name in strict.__all__}
    found |= {"ownership.querysets.OwnedQuerySet", "ownership.mixins.OwnedViewMixin", "ownership.admin.OwnedAdminMixin"}
    found |= {f"signals.{name}" for name, value in vars(signals).items() if isinstance(value, Signal)}
    found |= {"audit.services.security_logger", "decorators.requires"}
    for tool in pkgutil.iter_modules(kit.__path__):
        module = importlib.import_module(f"{kit.__name__}.{tool.name}")
        found |= {f"kit.{tool.name}.{name}" for name in defined_in(module)}
    for module in (fields, parsers, serializers):
        short = module.__name__.removeprefix("django_secure_auth.")
        found |= {f"{short}.{name}" for name in defined_in(module)}
    for one in pkgutil.walk_packages(django_secure_auth.__path__, "django_secure_auth."):
        kind = one.name.rpartition(".")[2]
        if kind in {"authentication", "permissions", "middleware"}:
            module = importlib.import_module(one.name)
            short = one.name.removeprefix("django_secure_auth.")
            for name in defined_in(module):
                thing = getattr(module, name)
                wanted = BaseAuthentication, BasePermission
                is_door = inspect.isclass(thing) and (kind == "middleware" or issubclass(thing, wanted))
                if is_door:
                    found.add(f"{short}.{name}")
    return found


@pytest.mark.parametrize("path", sorted(documented_paths() - NOT_PATHS))
def test_a_documented_path_can_be_imported(path: str) -> None:
    resolve(path)


def test_every_public_path_is_documented() -> None:
    assert public_paths() - documented_paths() == set()


# --- what the security policy promises ---------------------------------------------------------------


@pytest.mark.control("ASVS-15.1.1", "ASVS-15.2.1")
def test_the_security_policy_has_time_limits_by_severity_and_ci_asks_for_known_vulnerabilities() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = section(policy, "Vulnerable dependencies")
    days = [int(found) for found in re.findall(r"^\| \w+ \| (\d+) days", table, re.MULTILINE)]
    assert days == sorted(days)
    assert len(days) == 4
    assert "AUDIT=required make audit" in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SLICES, *FEATURES])
def test_a_slice_has_a_page_that_ends_with_what_it_does_not_protect_against(name: str) -> None:
    headings = re.findall(r"^## (.+)$", read(f"{name}.md"), re.MULTILINE)
    assert headings[0] == "The claim"
    assert "Attack → rule → code" in headings
    assert headings[-1] == "What this does not protect against"


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.is_file(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name} links to {target}"


def test_the_index_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", read("index.md")))
    assert {path.name for path in PAGES} - {"index.md"} <= linked


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_no_page_shows_a_path_of_the_machine_it_was_written_on(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp|Users|mnt)/", text)
    assert str(ROOT) not in text


def test_the_readme_begins_with_the_two_commands() -> None:
    first = re.search(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert first is not None
    assert first[1].split("\n")[:2] == ["$ make demo", "$ make test"]


def test_the_version_has_its_place_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    assert django_secure_auth.__version__ in text
    assert "### Security" in text
