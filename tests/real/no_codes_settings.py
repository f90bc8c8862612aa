"""The example project without codes: a new device is then told by a notice."""

from __future__ import annotations

from testproject.settings import *  # noqa: F403  # settings are inherited so
from testproject.settings import DJANGO_SECURE_AUTH as INHERITED

DJANGO_SECURE_AUTH = {**INHERITED, "OTP_POLICY": "never"}
