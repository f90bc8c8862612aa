"""Settings of `api_site`."""

from __future__ import annotations

from testproject.settings import *  # noqa: F403  # the project as it is, with another page at its root

ROOT_URLCONF = "tests.real.api_site"
