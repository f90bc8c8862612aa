"""Settings of `approval_site`."""

from __future__ import annotations

from testproject.settings import *  # noqa: F403  # settings are inherited so

ROOT_URLCONF = "tests.real.approval_site"
