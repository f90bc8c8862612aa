"""What Schemathesis is told about our API: loaded by its own process (SCHEMATHESIS_HOOKS), not by pytest."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, list[Any]] = json.loads(os.environ.get("KNOWN_IDS", "{}"))
"""Ids of the caller's rows, by the name of the path parameter."""
PROBLEM = {"type", "title", "status", "detail", "code", "request_id", "errors", "attempts_left"}


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """A path that is no route (an id that is no UUID) is Django's to answer, with a page of its own."""
    kind = response.headers.get("content-type", [""])[0]
    return not (response.status_code == 404 and kind.startswith("text/html"))


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """An id that was drawn names nothing: most become one that is there. What is deleted is not what others use."""
    found = dict(path_parameters or {})
    for name, ids in KNOWN.items():
        if name in found and (place := sum(str(found[name]).encode())) % 4:
            half = len(ids) // 2
            pool = ids[:half] if context.operation.method.upper() == "DELETE" else ids[half:]
            found[name] = pool[place % len(pool)]
    return found


@schemathesis.check
def problem_without_more_members(ctx: Any, response: Any, case: Any) -> None:
    """The schema lets others come (RFC 9457 §3.2); until they are documented, there are none."""
    if response.headers.get("content-type", [""])[0].startswith("application/problem+json"):
        assert response.json().keys() <= PROBLEM, f"unknown members: {response.json().keys() - PROBLEM}"
