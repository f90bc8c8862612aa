"""What a row of the production checklist is: one declaration, from which finding, report and rule are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage

from django_secure_auth import findings

# In the order in which the doctor prints them.
GROUPS = {
    "installation": "Installation",
    "debug": "Debugging",
    "secrets": "Secrets",
    "cookies": "Cookies and sessions",
    "https": "HTTPS",
    "headers": "Headers",
    "cors": "CORS",
    "hosts": "Hosts",
    "admin": "Admin",
    "passwords": "Passwords",
    "throttling": "Throttling",
    "drf": "Django REST framework",
    "files": "Bodies and files",
    "database": "Database",
    "caches": "Caches",
    "broker": "Broker",
    "mail": "Mail",
    "logs": "Logs and the trail",
    "proxy": "Proxy",
    "packages": "Other packages",
    "dependencies": "Dependencies",
    "other": "Others",
}

Finder = Callable[[], "bool | str"]
Maker = Callable[[int, str, str], CheckMessage]


@dataclass(frozen=True, slots=True)
class Check:
    """A question about the live settings. `find` says no (False or ""), yes (True), or yes and what: for `{}`."""

    number: int
    make: Maker
    group: str
    controls: tuple[str, ...]
    message: str
    hint: str
    find: Finder

    @property
    def id(self) -> str:
        return str(self.finding("").id)

    def finding(self, what: str) -> CheckMessage:
        return self.make(self.number, self.message.replace("{}", what), self.hint)

    def judge(self) -> CheckMessage | None:
        """Return the finding, None where there is none. Raises whatever a setting of no known shape leads to."""
        answer = self.find()
        return self.finding(answer if isinstance(answer, str) else "") if answer else None


def error(number: int, group: str, message: str, hint: str, *, controls: Iterable[str]) -> Callable[[Finder], Check]:
    """Declare the check `secure_auth.E<number>`, whose finder is what this stands on."""
    return lambda find: Check(number, findings.error, group, tuple(controls), message, hint, find)


def warning(number: int, group: str, message: str, hint: str, *, controls: Iterable[str]) -> Callable[[Finder], Check]:
    """Declare the check `secure_auth.W<number>`, whose finder is what this stands on."""
    return lambda find: Check(number, findings.warning, group, tuple(controls), message, hint, find)


def declared_in(module: Any) -> list[Check]:
    """Return the checks that a module declares, in its order."""
    return [value for value in vars(module).values() if isinstance(value, Check)]


def listed(names: Iterable[object]) -> str:
    """Return names for a message, in a settled order; "" where there are none."""
    return ", ".join(sorted({str(name) for name in names}))
