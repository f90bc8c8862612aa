"""The production checklist as system checks: E100 to E114 and W100 to W199, with `--deploy`."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.checks import CheckMessage

from django_secure_auth.doctor import backing, drf, packages, site
from django_secure_auth.doctor.policy import Check, declared_in
from django_secure_auth.findings import warning

CHECKLIST: tuple[Check, ...] = tuple(one for module in (site, drf, backing, packages) for one in declared_in(module))


def find_checklist() -> Iterable[CheckMessage]:
    """Judge the live settings row by row. A row that cannot be judged says so: silence would pass for a yes."""
    for check in CHECKLIST:
        try:
            found = check.judge()
        except Exception as mistake:  # settings of no shape that their package documents, a module that is not there
            # The type only: a message may hold what stands in the setting.
            found = warning(
                199,
                f"{check.id} could not be judged ({type(mistake).__name__}): {check.message.replace('{}', '…')}",
                "Correct the setting that it is about; its value has another form than its documentation says.",
            )
        if found:
            yield found
