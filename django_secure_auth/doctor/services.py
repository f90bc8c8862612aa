"""The doctor: what all system checks say about the live settings, in groups, with the controls that each one covers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured

from django_secure_auth.conf import conf
from django_secure_auth.doctor.checks import CHECKLIST
from django_secure_auth.doctor.packages import vulnerable
from django_secure_auth.doctor.policy import GROUPS

MIDDLEWARE_HEADERS = "django_secure_auth.headers.middleware.SecurityHeadersMiddleware"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has to say. `waived` is "", or why it does not count. No member ever holds a secret."""

    id: str
    level: int
    group: str
    message: str
    hint: str
    controls: tuple[str, ...]
    page: str
    waived: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of the dependency audit: "not asked", "not judged" (and why), "clean", "vulnerable"."""

    status: str
    why: str = ""


# --- what is known of an id --------------------------------------------------------------------------

# Those of other parts: group and controls. A row of the checklist has its own beside it.
_OURS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "E003": ("cookies", ("ASVS-3.3.1",)),
    "E004": ("cookies", ("ASVS-7.3.2",)),
    "E006": ("caches", ("DJ-checklist-CACHES", "ASVS-7.4.1")),
    "E007": ("throttling", ("DJ-checklist-CACHES", "ASVS-6.3.1")),
    "E010": ("cookies", ("ASVS-7.3.1",)),
    "E012": ("cookies", ("ASVS-3.5.1", "DJ-security.W003")),
    "E013": ("secrets", ("DJ-checklist-SECRETS",)),
    "W001": ("secrets", ("DJ-checklist-SECRETS", "ASVS-13.1.4")),
    "W002": ("secrets", ("DJ-security.W009", "DJ-security.W025")),
    "W003": ("broker", ("ASVS-16.5.2",)),
    "W004": ("throttling", ("DJ-checklist-CACHES",)),
    "W005": ("mail", ("DJ-checklist-HOST",)),
    "W006": ("proxy", ("ASVS-15.3.4",)),
    "W007": ("passwords", ("ASVS-6.3.3",)),
    "W008": ("throttling", ("DJ-checklist-CACHES",)),
    "W009": ("drf", ("ASVS-8.2.1",)),
    "W010": ("headers", ("ASVS-3.4.1", "DJ-security.W001")),
    "W011": ("headers", ("ASVS-3.4.1",)),
    "W012": ("drf", ("ASVS-16.5.1",)),
    "W013": ("admin", ("ASVS-6.3.4",)),
    "W020": ("drf", ("ASVS-7.2.2",)),
    "E060": ("cors", ("ASVS-3.4.2",)),
    "E061": ("cors", ("ASVS-3.4.2",)),
    "E062": ("cors", ("ASVS-3.4.2",)),
    "W063": ("cors", ("ASVS-3.4.2",)),
    "W064": ("cors", ("ASVS-3.4.2",)),
    "W065": ("cors", ("ASVS-3.4.2",)),
    "E066": ("proxy", ("ASVS-4.1.3",)),
    "W067": ("https", ("ASVS-4.1.2",)),
    "W068": ("cookies", ("ASVS-3.3.3",)),
    "W069": ("cookies", ("ASVS-3.5.1",)),
    "W080": ("passwords", ("ASVS-6.2.4",)),
    "W081": ("passwords", ("ASVS-6.2.5",)),
    "W082": ("passwords", ()),
    "W083": ("passwords", ("ASVS-6.2.12",)),
    "W084": ("mail", ()),
    "W085": ("dependencies", ("ASVS-15.2.1",)),
    "W086": ("mail", ("ASVS-1.2.2",)),
    "W087": ("caches", ("ASVS-14.2.2",)),
}
# Where nothing nearer is known, by number.
_RANGES = ((50, "installation"), (80, "headers"), (85, "other"), (95, "logs"), (100, "throttling"))
_DJANGO = {
    "debug": "W018",
    "secrets": "W009 W025",
    "cookies": "W003 W010 W011 W012 W013 W014 W015 W016 E100 E101",
    "https": "W004 W005 W008 W021",
    "headers": "W001 W002 W006 W019 W022 E023 E024 E026 W027",
    "hosts": "W020",
}
_GROUP_OF_DJANGO = {f"security.{code}": group for group, codes in _DJANGO.items() for code in codes.split()}
# Controls name the first of several variants.
_FIRST_OF_VARIANTS = {"W011": "W010", "W012": "W010", "W014": "W013", "W015": "W013", "E100": "E101"}
_CHECKLIST = {check.id: check for check in CHECKLIST}
DJANGO_PAGE = "https://docs.djangoproject.com/en/stable/ref/checks/"
PAGE = "docs/checks.md"


def known(check_id: str) -> tuple[str, tuple[str, ...]]:
    """Return group and controls of any check, by its id."""
    if check_id in _CHECKLIST:
        return _CHECKLIST[check_id].group, _CHECKLIST[check_id].controls
    family, _, code = check_id.rpartition(".")
    if family == "secure_auth":
        number = int(code[1:])
        nearest = next((group for end, group in _RANGES if number < end), "other")
        return _OURS.get(code, (nearest, ()))
    if check_id in _GROUP_OF_DJANGO:
        return _GROUP_OF_DJANGO[check_id], (f"DJ-security.{_FIRST_OF_VARIANTS.get(code, code)}",)
    return "other", ()


def catalogue() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Return id, group, controls and message of every check that is known, in the order of the groups."""
    texts = {check.id: check.message.replace("{}", "…") for check in CHECKLIST}
    ids = [*texts, *(f"secure_auth.{code}" for code in _OURS), *_GROUP_OF_DJANGO]
    order = list(GROUPS)
    rows = [(check_id, *known(check_id), texts.get(check_id, "")) for check_id in ids]
    return sorted(rows, key=lambda row: (order.index(row[1]), row[0]))


# --- what the checks say -----------------------------------------------------------------------------


def _is_https_only() -> bool:
    try:
        return conf.HTTPS_ONLY
    except ImproperlyConfigured:  # E002 says so
        return False


# Decisions that stand in the code with their reason: shown to whoever reads the report, no fault of anybody's.
_EXPLAINED = frozenset({"secure_auth.I051", "secure_auth.I052"})

# Checks of Django's that look at a setting of its own, where one of ours does the same.
_ANSWERED: Mapping[str, tuple[Callable[[], bool], str]] = {
    "security.W004": (
        lambda: MIDDLEWARE_HEADERS in settings.MIDDLEWARE,
        "SecurityHeadersMiddleware sends Strict-Transport-Security",
    ),
    "security.W008": (_is_https_only, "HTTPS_ONLY leaves nothing in clear"),
}


def _waiver(message: CheckMessage) -> str:
    if message.is_silenced():
        return "silenced by SILENCED_SYSTEM_CHECKS"
    if message.id in _EXPLAINED:
        return str(message.msg)
    is_answered, why = _ANSWERED.get(str(message.id), (lambda: False, ""))
    return why if is_answered() else ""


def _finding(message: CheckMessage) -> Finding:
    check_id = str(message.id or "unnamed")
    group, controls = known(check_id)
    page = PAGE if check_id.startswith("secure_auth.") else DJANGO_PAGE
    text = f"{message.obj}: {message.msg}" if message.obj else str(message.msg)
    return Finding(check_id, message.level, group, text, str(message.hint or ""), controls, page, _waiver(message))


def examine(databases: Sequence[str] = ()) -> list[Finding]:
    """Return what `check --deploy` says about the live settings, group by group, worst first. Nothing is called.

    With aliases of databases their tables are looked at as well, such as for accounts whose addresses are twins (W082).

    What is silenced, or answered by one of our settings, is there as well, with the reason in `waived`.
    """
    return _sorted(map(_finding, run_checks(include_deployment_checks=True, databases=databases or None)))


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    order = list(GROUPS)
    return sorted(found, key=lambda one: (order.index(one.group), -one.level, one.id))


# --- the dependency audit ----------------------------------------------------------------------------

_PATIENCE = 120  # seconds


def audit() -> tuple[Audit, list[Finding]]:
    """Ask pip-audit which installed packages have known vulnerabilities.

    It asks a public service by the names and versions of what is installed. Where it is not there, cannot reach the
    service in two minutes or answers something else, the answer is "not judged": never "clean".
    """
    if find_spec("pip_audit") is None:
        return Audit("not judged", "pip-audit is not installed"), []
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603  # no word of it is anybody's input
        told, skipped = _judged(done.stdout)
    except subprocess.TimeoutExpired:
        return Audit("not judged", f"no answer within {_PATIENCE} seconds"), []
    except (ValueError, KeyError, TypeError):  # its error output may name an index with a password in it
        return Audit("not judged", "pip-audit could not reach its service, or failed"), []
    why = f"not judged: {skipped}" if skipped else ""
    if not told:
        return Audit("clean", why), []
    return Audit("vulnerable", why), [_finding(vulnerable.finding(told))]


def _judged(answer: str) -> tuple[str, str]:
    """What is vulnerable, and what pip-audit could not look up: a package from elsewhere, or one in development."""
    packages = json.loads(answer)["dependencies"]
    leaky = (
        f"{one['name']} {one['version']} ({', '.join(sorted(vuln['id'] for vuln in one['vulns']))})"
        for one in packages
        if one.get("vulns")
    )
    return "; ".join(leaky), ", ".join(sorted(one["name"] for one in packages if "skip_reason" in one))
