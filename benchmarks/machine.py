"""What the figures were measured on: processor, cores and versions. No names of hosts, no paths."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

_PACKAGES = {
    "django-secure-auth": "django-secure-auth",
    "djangorestframework": "DRF",
    "djangorestframework-simplejwt": "simplejwt",
    "django-rest-knox": "knox",
    "psycopg": "psycopg",
    "redis": "redis-py",
    "gunicorn": "gunicorn",
}


def describe() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "versions": {label: version(name) for name, label in _PACKAGES.items()},
    }


def redis_version(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        return str(client.info("server")["redis_version"])


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return " ".join((found.group(1) if found else platform.processor() or platform.machine()).split())
