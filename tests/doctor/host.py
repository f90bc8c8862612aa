"""testproject as it is in production, in this process, and one change of it at a time."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from hashlib import sha256, sha384
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from celery import Celery, current_app
from django.conf import settings
from django.core.checks import INFO, CheckMessage, run_checks
from django.test import override_settings
from django.urls import clear_url_caches

from django_secure_auth.kit.keys import b64encode

ROOT = Path(__file__).resolve().parents[2]
# Secrets that are the same in every process, so that parallel workers collect the same tests.
SECRET = b64encode(sha384(b"the site's own").digest())
SIGNING, ENCRYPTION = (b64encode(sha256(name).digest()) for name in (b"signing", b"encryption"))
ENVIRONMENT = {
    "DEBUG": "0",
    "SECRET_KEY": SECRET,
    "ALLOWED_HOSTS": "auth.example.com",
    "BASE_URL": "https://auth.example.com",
    "ADMIN_PATH": "back-office/",
    "EMAIL_URL": "smtp+tls://user:of-the-mail@mail.example.com:587",
    "SECURE_AUTH_SIGNING_KEYS": f"k1:{SIGNING}",
    "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{ENCRYPTION}",
    "CELERY_BROKER_URL": "rediss://:of-the-broker@redis.example.com:6379/0",
    "CACHE_URL": "rediss://:of-the-cache@redis.example.com:6379/1",
    "STATE_CACHE": "default",
    "DATABASE_URL": "postgres://user:of-the-database@db.example.com/auth?sslmode=verify-full",
}
# What Django's override would do with them: connect elsewhere, load apps. The checks only read them.
_ONLY_READ = ("DATABASES", "INSTALLED_APPS")


@cache
def _production() -> dict[str, Any]:
    with patch.dict("os.environ", ENVIRONMENT, clear=True):
        found = runpy.run_path(str(ROOT / "testproject/settings.py"))
    return {name: value for name, value in found.items() if name.isupper() and name != "ROOT"}


def _changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of production with these changes: `A.b` is a member of A, a callable is told what was there."""
    whole = deepcopy(_production())
    for path, value in changes.items():
        *outer, name = path.split(".")
        place: dict[str, Any] = whole
        for one in outer:
            place = place.setdefault(one, {})
        place[name] = value(place.get(name)) if callable(value) and not isinstance(value, type) else value
    return whole


@contextmanager
def production(changes: Mapping[str, Any]) -> Iterator[None]:
    """Be testproject in production, changed; `$NAME` is a variable of the environment, `+urls` are more URLs."""
    patterns = changes.get("+urls", ())
    environment = {name[1:]: value for name, value in changes.items() if name.startswith("$")}
    whole = _changed({name: value for name, value in changes.items() if name[0] not in "$+"})
    celery = {name[7:].lower(): value for name, value in whole.items() if name.startswith("CELERY_")}
    before = current_app._get_current_object()
    app = Celery("shop", set_as_current=False)
    app.conf.update(celery)
    plain = {name: value for name, value in whole.items() if name not in _ONLY_READ}
    with patch.dict("os.environ", environment), override_settings(**plain):
        for name in _ONLY_READ:
            setattr(settings, name, whole[name])
        settings.ROOT_URLCONF = _urls(patterns)
        app.set_current()
        try:
            yield
        finally:
            before.set_current()


def _urls(more: Iterable[Any]) -> ModuleType:
    """The project's URLs, made anew: who has loaded them before has another ADMIN_PATH."""
    urls = ModuleType("urls")
    vars(urls)["urlpatterns"] = [*runpy.run_path(str(ROOT / "testproject/urls.py"))["urlpatterns"], *more]
    clear_url_caches()
    return urls


def found(changes: Mapping[str, Any]) -> list[CheckMessage]:
    """What `check --deploy` says of a changed production, without what is silenced and what is only to know."""
    with production(changes):
        messages = run_checks(tags=["security", "secure_auth"], include_deployment_checks=True)
        return [message for message in messages if message.level > INFO and not message.is_silenced()]


def ids(changes: Mapping[str, Any]) -> list[str]:
    return sorted(str(message.id) for message in found(changes))
