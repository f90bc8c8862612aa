"""Settings of `role_site`."""

from __future__ import annotations

from testproject.settings import *  # noqa: F403  # the project as it is, and two URLs more

ROOT_URLCONF = "tests.real.role_site"
