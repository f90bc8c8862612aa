"""The members of a security event in the shapes that collectors know: ECS, OCSF and CEF. One event stays one line.

Each function takes the members of `kit.json_log` and returns the line's JSON object, or for CEF the line itself. Who an
event is about stands in `details` under the names of `WHO`: `user_id` is whom it concerns, `actor_id` who did it. What
has no place in a shape is kept under a name of ours. What an event is follows from its `event_type`; a few names say
more.

Sources: Elastic Common Schema 8.17; OCSF 1.3.0; ArcSight Common Event Format, version 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

PRODUCT = "django_secure_auth"
Members = Mapping[str, Any]

WHO = frozenset({"user_id", "actor_id", "sid", "ip_address", "user_agent"})
_OUTCOME = {
    "auth_success": "success",
    "auth_failure": "failure",
    "authz_failure": "failure",
    "rate_limit_exceeded": "failure",
    "validation_failure": "failure",
}
_LOGINS = frozenset({"authn_login_success", "authn_login_fail"})
_BEGINS = frozenset({"session_created"})
_ENDS = frozenset({"authn_token_revoked", "session_expired"})
_RIGHTS = frozenset({"authz_admin", "authz_change", "privilege_permissions_changed"})
_OF_THE_TRAIL = "audit_"  # sealed, exported: nobody has signed in

# ECS: event.category and event.type, of the pairs that its tables allow.
_ECS = {
    "auth_success": ("authentication", ["info"]),
    "auth_failure": ("authentication", ["info"]),
    "authz_failure": ("api", ["access", "denied"]),
    "rate_limit_exceeded": ("api", ["denied"]),
    "validation_failure": ("api", ["denied"]),
    "suspicious_request": ("intrusion_detection", ["info"]),
}
_ECS_SEVERITY = {"INFO": 21, "LOW": 47, "MEDIUM": 73, "HIGH": 99, "CRITICAL": 99}

# OCSF: class_uid; its thousands are the category.
_AUTHENTICATION, _API_ACTIVITY, _DETECTION, _ACCOUNT_CHANGE = 3002, 6003, 2004, 3001
_OCSF = {
    "auth_success": _AUTHENTICATION,
    "auth_failure": _AUTHENTICATION,
    "suspicious_request": _DETECTION,
}
_LOGON, _LOGOFF, _CREATE, _OTHER = 1, 2, 1, 99
_ACTIVITIES = {
    (_AUTHENTICATION, _LOGON): "Logon",
    (_AUTHENTICATION, _LOGOFF): "Logoff",
    (_DETECTION, _CREATE): "Create",
}
_NEW = 1  # of a finding: nobody has looked at it yet
_NOBODY = {"name": "Unknown", "type_id": 0}
_OCSF_SEVERITY = {"INFO": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4, "CRITICAL": 5}
_OCSF_STATUS = {"success": 1, "failure": 2, "unknown": 0}

_CEF_SEVERITY = {"INFO": 1, "LOW": 3, "MEDIUM": 6, "HIGH": 8, "CRITICAL": 10}


def _outcome(members: Members) -> str:
    return _OUTCOME.get(members["event_type"], "unknown")


def _rest(members: Members) -> dict[str, Any]:
    return {name: value for name, value in members["details"].items() if name not in WHO}


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def ecs(members: Members) -> dict[str, Any]:
    """Return the event as ECS nests its fields; details of no field of ECS stand under `django_secure_auth`."""
    name, details = members["event"], members["details"]
    category, kinds = _ECS.get(members["event_type"], ("api", ["info"]))
    if name in _LOGINS:
        category, kinds = "authentication", ["start"]
    elif name in _BEGINS or name in _ENDS:
        category, kinds = "session", ["start" if name in _BEGINS else "end"]
    elif name in _RIGHTS:
        category, kinds = "iam", ["change"]
    elif name.startswith(_OF_THE_TRAIL) and members["event_type"] != "suspicious_request":
        category, kinds = "api", ["info"]
    subject = details.get("user_id")
    actor = details.get("actor_id") or subject
    target = _without_nothing({"id": subject if subject != actor else None})
    return _without_nothing(
        {
            "@timestamp": members["timestamp"],
            "ecs": {"version": "8.17.0"},
            "message": members["message"],
            "log": {"level": members["severity"].lower(), "logger": f"{PRODUCT}.security"},
            "event": {
                "kind": "alert" if members["event_type"] == "suspicious_request" else "event",
                "category": [category],
                "type": kinds,
                "action": name,
                "outcome": _outcome(members),
                "severity": _ECS_SEVERITY.get(members["severity"], 21),
                "module": PRODUCT,
                "dataset": f"{PRODUCT}.security",
            },
            "user": _without_nothing({"id": actor, "target": target}),
            "source": _without_nothing({"ip": _address(details.get("ip_address"))}),
            "user_agent": _without_nothing({"original": details.get("user_agent")}),
            "http": {"request": {"id": members["request_id"]}} if members["request_id"] else {},
            PRODUCT: _without_nothing(
                {
                    "event_type": members["event_type"],
                    "session_id": details.get("sid"),
                    "details": _rest(members),
                }
            ),
        }
    )


def ocsf(members: Members) -> dict[str, Any]:
    """Return the event as an OCSF class: Authentication, Account Change, Detection Finding, else API Activity."""
    name, details, outcome = members["event"], members["details"], _outcome(members)
    class_uid = _OCSF.get(members["event_type"], _API_ACTIVITY)
    if name in _RIGHTS:
        class_uid = _ACCOUNT_CHANGE
    elif name.startswith(_OF_THE_TRAIL) and class_uid == _AUTHENTICATION:
        class_uid = _API_ACTIVITY
    activity = _OTHER
    if class_uid == _DETECTION:
        activity = _CREATE
    elif class_uid == _AUTHENTICATION and name in _LOGINS | _BEGINS | _ENDS:
        activity = _LOGOFF if name in _ENDS else _LOGON
    user = _without_nothing({"uid": details.get("user_id")}) or _NOBODY
    who, session = details.get("actor_id"), details.get("sid")
    actor = _without_nothing({"user": _without_nothing({"uid": who}), "session": _without_nothing({"uid": session})})
    source = _without_nothing({"ip": _address(details.get("ip_address"))})
    specific: dict[str, Any] = {"user": user}
    if class_uid == _AUTHENTICATION:
        specific["service"] = {"name": PRODUCT}
    elif class_uid == _DETECTION:
        evidence = _without_nothing({"actor": actor, "src_endpoint": source})
        specific = {
            "finding_info": {"uid": members["request_id"] or name, "title": members["message"]},
            "is_alert": True,
            "status_id": _NEW,
            "evidences": [evidence] if evidence else None,
        }
    elif class_uid == _API_ACTIVITY:  # requires both, also of nobody
        actor, source = actor or {"user": _NOBODY}, source or {"name": "Unknown"}
        specific = {"api": {"operation": name}, "user": user}
    return _without_nothing(
        {
            "class_uid": class_uid,
            "category_uid": class_uid // 1000,
            "activity_id": activity,
            "activity_name": _ACTIVITIES.get((class_uid, activity), name),
            "type_uid": class_uid * 100 + activity,
            "severity_id": _OCSF_SEVERITY.get(members["severity"], 1),
            "status_id": _OCSF_STATUS[outcome],
            "time": _milliseconds(members["timestamp"]),
            "message": members["message"],
            "metadata": _without_nothing(
                {
                    "version": "1.3.0",
                    "product": {"name": PRODUCT, "vendor_name": "django-secure-auth"},
                    "event_code": name,
                    "log_name": members["event_type"],
                    "correlation_uid": members["request_id"],
                }
            ),
            **specific,
            "actor": actor,
            "src_endpoint": source,
            "http_request": _without_nothing({"user_agent": details.get("user_agent")}),
            "unmapped": _rest(members),
        }
    )


def cef(members: Members) -> str:
    """Return the event as one CEF line. Values are JSON-escaped first, so that no character of theirs ends the line."""
    details = members["details"]
    address = _address(details.get("ip_address"))
    is_v6 = address is not None and ":" in address
    fields = {
        "rt": _milliseconds(members["timestamp"]),
        "cat": members["event_type"],
        "outcome": _outcome(members),
        "externalId": members["request_id"],
        "suid": details.get("user_id"),
        "c6a2Label" if is_v6 else "": "Source IPv6 Address",
        "c6a2" if is_v6 else "src": address,
        "requestClientApplication": details.get("user_agent"),
        "cs1Label": "actorId",
        "cs1": details.get("actor_id"),
        "cs2Label": "sessionId",
        "cs2": details.get("sid"),
        "cs3Label": "details",
        "cs3": json.dumps(_rest(members), ensure_ascii=True, separators=(",", ":")) if _rest(members) else None,
    }
    told = {name: value for name, value in fields.items() if name and value not in (None, "")}
    extension = " ".join(
        f"{name}={_in_extension(str(value))}"
        for name, value in told.items()
        if not name.endswith("Label") or name.removesuffix("Label") in told
    )
    severity = _CEF_SEVERITY.get(members["severity"], 1)
    head = (PRODUCT, PRODUCT, "1", members["event"] or members["event_type"], members["message"], str(severity))
    return "|".join(("CEF:0", *map(_in_head, head), extension))


def _ascii(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)[1:-1].replace('\\"', '"')


def _in_head(text: str) -> str:
    return _ascii(text).replace("\\", "\\\\").replace("|", "\\|")


def _in_extension(text: str) -> str:
    return _ascii(text).replace("\\", "\\\\").replace("=", "\\=")


def _milliseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() * 1000)


def _address(text: Any) -> str | None:
    """The shapes want an address there, and a collector drops a line that has none, or one with a zone."""
    try:
        return str(ip_address(text.partition("%")[0])) if isinstance(text, str) else None
    except ValueError:
        return None
