import sys, re
import pytest
from collections import Counter
from datetime import timedelta
from django.test.utils import CaptureQueriesContext
from django.db import connection, transaction
from django.core.cache import caches
from tests.browser import Browser, make_user, trust, PASSWORD, last_code
from tests.counting_cache import CountingCache
from django_secure_auth.sessions.models import Session
from django.urls import reverse

def show(label, action):
    CountingCache.calls.clear()
    with CaptureQueriesContext(connection) as c:
        r = action()
    print("\n##", label, getattr(r, "status_code", r))
    for q in c.captured_queries: print("   ", re.sub(r'"|`', '', q["sql"])[:130] if not q["sql"].startswith("SELECT") else "SELECT … "+ re.sub(r'"|`','',q["sql"])[q["sql"].find(" FROM"):][:110])
    print("   cache", CountingCache.calls)
    return r

@pytest.mark.django_db(transaction=True)
def test_m(settings):
    settings.CACHES = {"default": {"BACKEND": "tests.counting_cache.CountingCache"}}
    u = make_user()
    b = Browser(); b.csrf()
    show("login new device", lambda: b.login())
    show("wrong", lambda: Browser().login(password="x"*12))
    x = Browser(); x.csrf()
    show("wrong", lambda: x.login(password="x"*12))
    show("unknown", lambda: x.login(email="no@example.com"))
    show("wrong code", lambda: b.approve("000000"))
    show("approve", lambda: b.approve())
    b2 = b
    show("first request", lambda: b.request("GET", "/probe/"))
    show("second request", lambda: b.request("GET", "/probe/"))
    show("me", lambda: b.me())
    show("sessions", lambda: b.get("session-list"))
    show("refresh", lambda: b.refresh())
    show("first after rotation", lambda: b.me())
    show("second", lambda: b.me())
    show("logout", lambda: b.logout())
    show("login trusted", lambda: b.login())
    show("login trusted again, replaces", lambda: b.login())
    settings.DJANGO_SECURE_AUTH = {"STATE_CACHE": "default"}
    show("first request", lambda: b.request("GET", "/probe/"))
    show("second request", lambda: b.request("GET", "/probe/"))
    show("third request", lambda: b.request("GET", "/probe/"))
    show("refresh", lambda: b.refresh())
    show("first request", lambda: b.request("GET", "/probe/"))
    show("second request", lambda: b.request("GET", "/probe/"))
    show("third request", lambda: b.request("GET", "/probe/"))
    settings.DJANGO_SECURE_AUTH = {"STATE_CACHE": "default", "STATE_MAX_AGE": timedelta(seconds=60)}
    show("max age 1", lambda: b.request("GET", "/probe/"))
    show("max age 2", lambda: b.request("GET", "/probe/"))
    show("logout", lambda: b.logout())
