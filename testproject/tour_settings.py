"""Settings of the server that `manage.py demo --tour` starts for itself; the rest comes from its environment."""

from datetime import timedelta

from testproject.settings import *  # noqa: F403  # as Django projects layer settings
from testproject.settings import DJANGO_SECURE_AUTH
from testproject.tour import GRACE_SECONDS

# A tour that waits ten seconds for the grace to pass is one that nobody watches.
DJANGO_SECURE_AUTH = {**DJANGO_SECURE_AUTH, "REFRESH_GRACE": timedelta(seconds=GRACE_SECONDS)}
