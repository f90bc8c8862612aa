"""The walk over the URLs: what it calls closed lets nobody in, what it cannot know it calls open."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.urls import URLResolver, path
from django.urls.resolvers import RoutePattern
from django.utils.translation import override as language
from rest_framework import permissions as drf
from rest_framework.routers import APIRootView

from django_secure_auth import testing
from django_secure_auth.routes import Route, idle_entries, open_routes, routes, view_classes, views
from django_secure_auth.staff.admin import SecureAdminSite
from django_secure_auth.testing import assert_no_open_routes
from tests import host_routes

ROOT = Path(__file__).resolve().parent.parent
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def _host(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.host_routes"


def urlconf(*patterns: Any) -> Any:
    module = ModuleType("some_urls")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]  # what Django looks for
    return module


def named(name: str, found: list[Route] | None = None) -> list[Route]:
    return [route for route in (routes() if found is None else found) if route.name == name]


# --- who may pass ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> Iterator[list[Route]]:
    with override_settings(ROOT_URLCONF="tests.host_routes"):
        yield routes()


@pytest.mark.parametrize("name", host_routes.VIEWS)
def test_a_view_is_read_as_it_is(name: str, found: list[Route]) -> None:
    expected = host_routes.VIEWS[name][1]
    assert {", ".join(one.methods): (one.who, one.is_open) for one in named(name, found)} == expected


@pytest.mark.django_db
@pytest.mark.parametrize("name", host_routes.VIEWS)
def test_what_is_called_closed_lets_nobody_in(name: str, found: list[Route]) -> None:
    """And what is called open does, unless it is only said to be unknown."""
    for route in named(name, found):
        for method in ("GET", "POST") if route.methods == ("ANY",) else route.methods:
            host_routes.entered.clear()
            response = Client(raise_request_exception=False).generic(method, route.path)
            if not route.is_open:
                assert host_routes.entered == [], f"{method} {route}"
                assert response.status_code != 200
            elif route.who == "anyone" and name != "silent":  # guarded by what cannot be seen
                assert host_routes.entered == [route.path], f"{method} {route}"


def test_the_actions_of_a_view_set_are_read_one_by_one(found: list[Route]) -> None:
    things = [one for one in found if one.name.startswith("thing") and "format" not in one.path]
    assert [(one.path, one.methods, one.who) for one in things] == [
        ("/router/things/", ("GET",), "anyone"),
        ("/router/things/", ("POST",), "staff"),
        ("/router/things/extra/", ("GET", "POST"), "staff"),
        ("/router/things/(?P<pk>[^/.]+)/guarded/", ("GET",), "staff and role editor"),
    ]
    (root, *_) = named("api-root", found)
    assert (root.methods, root.who) == (("GET",), "signed in")


def test_the_page_of_links_that_a_router_makes_asks_for_no_permission_of_models(settings: Any) -> None:
    """DRF lets everybody see it under DjangoModelPermissions."""
    links = APIRootView.as_view(permission_classes=[drf.DjangoModelPermissions])
    (route,) = routes(urlconf(path("", links)))
    assert (route.who, route.is_open) == ("anyone", True)


def test_permissions_are_asked_as_an_unknown_caller_would_be() -> None:
    class Endpoint(host_routes.Endpoint):
        def get_permissions(self) -> list[Any]:
            assert not self.request.user.is_authenticated
            assert self.kwargs == {}
            return [drf.IsAuthenticated()] if self.request.method == "POST" else []

    assert {one.methods: one.who for one in routes(urlconf(path("", Endpoint.as_view())))} == {
        ("GET",): "anyone",
        ("POST",): "signed in",
    }


def test_the_middleware_of_django_closes_plain_views_that_do_not_opt_out(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOGIN_REQUIRED]
    found = routes()
    assert [one.who for one in named("plain", found) + named("page", found) + named("silent", found)] == [
        "signed in"
    ] * 3
    assert [one.who for one in named("login-not-required", found) + named("api-open", found)] == ["anyone"] * 2
    assert [one.who for one in named("requires", found)] == ["role editor or admin"]


@pytest.mark.parametrize("site", [AdminSite, SecureAdminSite])
def test_the_admin_is_for_staff_but_for_its_sign_in(site: type[AdminSite]) -> None:
    own = site(name="own")
    own.register(Group, GroupAdmin)
    found = routes(urlconf(path("admin/", own.urls)))
    assert len(found) > 15
    assert [(one.name, one.reason) for one in found if one.is_open] == [("own:login", "login_not_required")]
    assert {one.who for one in found if not one.is_open} == {"staff"}


def test_the_admins_sign_in_can_be_reached_under_djangos_middleware(settings: Any) -> None:
    """It would be sent to itself for ever."""
    settings.ROOT_URLCONF = urlconf(path("admin/", SecureAdminSite().urls))
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOGIN_REQUIRED]
    assert Client().get("/admin/login/", secure=True).status_code == 200


def test_our_own_urls_come_out_right() -> None:
    found = routes("django_secure_auth.urls")
    shown = {(one.name, one.methods): (one.who, one.csrf, bool(one.reason)) for one in found}
    assert shown == {
        ("csrf", ("GET",)): ("anyone", "-", True),
        ("login", ("POST",)): ("anyone", "enforced", True),
        ("otp-approve", ("POST",)): ("anyone", "enforced", True),
        ("otp-resend", ("POST",)): ("anyone", "enforced", True),
        ("refresh", ("POST",)): ("anyone", "enforced", True),
        ("logout", ("POST",)): ("anyone", "enforced", True),
        ("register", ("POST",)): ("anyone", "enforced", True),
        ("register-verify", ("POST",)): ("anyone", "enforced", True),
        ("password-reset", ("POST",)): ("anyone", "enforced", True),
        ("password-reset-confirm", ("POST",)): ("anyone", "enforced", True),
        ("email-change", ("POST",)): ("recently signed in", "by authentication", False),
        ("email-undo", ("POST",)): ("anyone", "enforced", True),
        ("not-me", ("POST",)): ("anyone", "enforced", True),
        ("reauthenticate", ("POST",)): ("the user in person", "by authentication", False),
        ("password-change", ("POST",)): ("the user in person", "by authentication", False),
        ("me", ("GET", "PATCH")): ("signed in", "by authentication", False),
        ("me", ("DELETE",)): ("recently signed in", "by authentication", False),
        ("export", ("GET",)): ("recently signed in", "-", False),
        ("device-list", ("GET",)): ("signed in", "-", False),
        ("device-list", ("POST",)): ("recently signed in", "by authentication", False),
        ("device-detail", ("DELETE",)): ("recently signed in", "by authentication", False),
        ("session-list", ("GET",)): ("signed in", "-", False),
        ("session-list", ("DELETE",)): ("recently signed in", "by authentication", False),
        ("session-detail", ("DELETE",)): ("recently signed in", "by authentication", False),
        ("activity", ("GET",)): ("signed in", "-", False),
        ("apikey-list", ("GET",)): ("signed in", "-", False),
        ("apikey-list", ("POST",)): ("recently signed in", "by authentication", False),
        ("apikey-detail", ("PATCH", "DELETE")): ("recently signed in", "by authentication", False),
        ("apikey-rotate", ("POST",)): ("recently signed in", "by authentication", False),
        ("jwks", ("GET",)): ("anyone", "-", True),
    }
    assert open_routes("django_secure_auth.urls") == []


def test_the_example_project_has_no_open_door() -> None:
    done = shell("--fail-on-open", settings="testproject.settings")
    assert (done.returncode, done.stderr) == (0, "")


# --- the other columns -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "csrf"),
    [
        ("plain", "enforced"),
        ("page", "enforced"),
        ("exempt", "exempt"),
        ("requires", "by authentication"),
        ("requires-twice", "by authentication"),
        ("requires-exempt", "exempt"),
        ("guarded", "by authentication"),
        ("method-decorated", "enforced"),
        ("read-only", "-"),
        ("api-default", "by authentication"),
        ("api-session", "by authentication"),
        ("api-nobody", "exempt"),
        ("api-function-below", "-"),
    ],
)
def test_who_asks_for_the_csrf_token(name: str, csrf: str, found: list[Route]) -> None:
    assert csrf in {one.csrf for one in named(name, found)}


def test_without_its_middleware_nobody_does(settings: Any) -> None:
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if one != CSRF]
    (route,) = named("plain")
    assert route.csrf == "exempt"


def test_authentication_and_throttles_are_named(found: list[Route], settings: Any) -> None:
    (route,) = named("api-session", found)
    assert (route.authentication, route.throttle) == (("SessionAuthentication",), ("Slow",))
    (route,) = named("api-default", found)
    assert (route.authentication, route.throttle) == (("JWTCookieAuthentication",), ())
    (route,) = named("plain", found)
    assert route.authentication == ("session",)
    (route,) = named("requires", found)
    assert route.authentication == ("session", "JWTCookieAuthentication")
    assert [one.authentication for one in named("half-guarded", found)] == [
        ("session",),
        ("session", "JWTCookieAuthentication"),
    ]
    settings.MIDDLEWARE = [CSRF]
    (route,) = named("plain")
    assert route.authentication == ()


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("plain", "tests.host_routes.plain"),
        ("page-login", "tests.host_routes.Page"),
        ("callable", "tests.host_routes.Feed"),
        ("bound", "tests.host_routes.Site.page"),
        ("partial", "tests.host_routes.plain"),
        ("api-function-above", "tests.host_routes.api"),
        ("thing-extra", "tests.host_routes.ByAction"),
    ],
)
def test_the_view_is_named_that_one_would_open(name: str, view: str, found: list[Route]) -> None:
    assert {one.view for one in named(name, found)} == {view}


def test_paths_and_names_are_whole(found: list[Route]) -> None:
    assert [(one.path, one.name) for one in found if one.path.startswith("/nested")] == [
        ("/nested/<int:pk>/", "here:one"),
        ("/nested/(?P<slug>[a-z]+)/", "here:two"),
        ("/nested-again/deep/<int:pk>/", "there:one"),
        ("/nested-again/deep/(?P<slug>[a-z]+)/", "there:two"),
    ]


def test_a_prefix_of_the_language_is_shown_as_it_is_now() -> None:
    module = urlconf(*i18n_patterns(path("about/", host_routes.plain)))
    with language("de"):
        assert [one.path for one in routes(module)] == ["/de/about/"]


# --- what is open on purpose -------------------------------------------------------------------------


def test_a_view_may_say_why_it_is_open(found: list[Route]) -> None:
    reasons = {name: {one.reason for one in named(name, found)} for name in host_routes.VIEWS}
    assert reasons["declared-open"] == {"a shop window"}
    assert reasons["declared"] == {"for everybody"}
    assert reasons["api-declared-open"] == {"a public price list"}
    assert reasons["login-not-required"] == {"login_not_required"}
    silent = {name for name, said in reasons.items() if said == {""}}
    assert {"declared-blank", "plain", "api-open", "requires", "guarded", "api-function-above"} <= silent


def test_what_is_open_without_a_word_is_found(found: list[Route]) -> None:
    undeclared = {one.name for one in found if one.is_undeclared}
    assert {"plain", "page", "silent", "api-open", "api-unknown", "api-failing", "half-guarded"} <= undeclared
    assert not {"declared", "login", "requires", "api-default", "login-not-required"} & undeclared
    assert [one.name for one in open_routes("tests.host_routes")] == [one.name for one in found if one.is_undeclared]


@pytest.mark.parametrize("entry", ["plain", "/plain/", "plain/"])
def test_a_setting_names_what_may_be_open(entry: str, configure: Configure) -> None:
    configure(OPEN_ROUTES=[entry])
    (route,) = named("plain")
    assert (route.who, route.is_open, route.reason, route.is_undeclared) == ("anyone", True, "OPEN_ROUTES", False)
    assert not any(one.name == "async-plain" and one.reason for one in routes())


@pytest.mark.parametrize("entry", ["here:one", "/nested/<int:pk>/"])
def test_the_setting_takes_namespaces_and_converters(entry: str, configure: Configure) -> None:
    configure(OPEN_ROUTES=(entry,))
    assert [one.name for one in routes() if one.reason == "OPEN_ROUTES"] == ["here:one"]


@pytest.mark.parametrize("entry", ["*", "/", "pla", "one", "PLAIN", "plain/?", "/plain", "outer:one"])
def test_the_setting_opens_nothing_that_it_does_not_name(entry: str, configure: Configure) -> None:
    configure(OPEN_ROUTES=[entry])
    assert not any(one.reason == "OPEN_ROUTES" for one in routes())
    assert idle_entries(routes()) == [entry]


def test_an_entry_that_opens_nothing_is_told(configure: Configure) -> None:
    """One for a guarded view would hide the day on which its guard is lost."""
    configure(OPEN_ROUTES=["plain", "requires", "gone", "declared"])
    found = routes()
    assert idle_entries(found) == ["requires", "gone"]
    assert [one.reason for name in ("requires", "declared") for one in named(name, found)] == ["", "for everybody"]


# --- what cannot be read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("tests.no_such_module", "ModuleNotFoundError"),
        ("tests.browser", "ImproperlyConfigured"),  # has no patterns
    ],
)
def test_a_urlconf_that_cannot_be_read_is_named_and_open(module: str, error: str) -> None:
    (route,) = routes(module)
    assert error in route.error
    assert (route.path, route.who, route.is_undeclared) == ("/", "unknown", True)
    assert error in str(route)


def test_one_that_is_nested_does_not_hide_the_others() -> None:
    nested = URLResolver(RoutePattern("api/"), "tests.no_such_module")
    found = routes(urlconf(path("before/", host_routes.plain), nested, "no pattern", path("after/", host_routes.plain)))
    assert [one.path for one in found] == ["/before/", "/api/", "/?", "/after/"]
    assert [bool(one.error) for one in found] == [False, True, True, False]
    assert "str is no URL pattern" in found[2].error


def test_a_view_that_cannot_be_read_is_named_and_open(found: list[Route]) -> None:
    (route,) = named("api-failing", found)
    assert route.view == "tests.host_routes.Failing"
    assert "LookupError: no tenant" in route.error
    assert route.is_undeclared


def test_a_project_without_urls_has_none(settings: Any) -> None:
    settings.ROOT_URLCONF = None
    assert routes() == []


def test_a_thousand_urls_take_no_time() -> None:
    views = [view for view, _ in host_routes.VIEWS.values()]
    module = urlconf(*(path(f"{number}/", views[number % len(views)]) for number in range(1000)))
    before = time.process_time()
    assert len(routes(module)) >= 1000
    assert time.process_time() - before < 3  # 0.3 s on an idle machine


def test_nothing_is_asked_of_the_database_and_no_view_is_called(found: list[Route]) -> None:
    """Without the mark of pytest-django a query would raise."""
    host_routes.entered.clear()
    assert len(routes()) == len(found)
    assert host_routes.entered == []


# --- the command -------------------------------------------------------------------------------------


def shell(*args: str, settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "django", "secure_auth_routes", *args, "--settings", settings]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DEBUG": "1"}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def run(*args: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("secure_auth_routes", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_shows_a_table() -> None:
    out, err = run()
    head, *lines = out.splitlines()
    assert head.split() == "methods path name who authentication permission throttle csrf view".split()
    assert len(lines) == len(routes())
    (line,) = (line for line in lines if " declared-open " in line)
    assert "anyone (a shop window)" in line
    (line,) = (line for line in lines if " api-failing " in line)
    assert "LookupError: no tenant" in line
    assert err == ""
    assert {line.index("/") for line in lines} == {head.index("path")}


def test_the_command_writes_markdown() -> None:
    out, _ = run("--format", "markdown")
    head, rule, *lines = out.splitlines()
    assert head.startswith("| methods | path | name | who |")
    assert set(rule) <= set("| -")
    assert len(lines) == len(routes())
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 10 for line in lines)
    assert "| /nested/\\<int:pk>/ |" in out


def test_the_command_writes_json(configure: Configure) -> None:
    configure(OPEN_ROUTES=["plain", "gone"])
    out, err = run("--format", "json")
    read = json.loads(out)
    assert len(read) == len(routes())
    (one,) = (row for row in read if row["name"] == "plain")
    assert one == {
        "path": "/plain/",
        "name": "plain",
        "methods": ["ANY"],
        "view": "tests.host_routes.plain",
        "authentication": ["session"],
        "permission": [],
        "throttle": [],
        "csrf": "enforced",
        "who": "anyone",
        "is_open": True,
        "reason": "OPEN_ROUTES",
        "cross_site": "",
        "error": "",
        "is_undeclared": False,
    }
    assert "'gone'" in err


def test_the_command_fails_on_what_is_open_only_when_it_is_told_to() -> None:
    run("--format", "markdown")
    with pytest.raises(CommandError) as told:
        run("--fail-on-open")
    assert told.value.returncode == 1
    lines = str(told.value).splitlines()
    assert len(lines) == 1 + len(open_routes())
    assert "ANY /plain/ (plain): anyone" in lines
    assert "GET, POST /api-unknown/ (api-unknown): unknown: IsLucky" in lines


def test_the_command_is_content_when_all_is_declared(configure: Configure) -> None:
    configure(OPEN_ROUTES=[one.name or one.path for one in open_routes()])
    out, err = run("--fail-on-open")
    assert "OPEN_ROUTES" in out
    assert err == ""


def test_what_pages_of_every_site_may_call_says_so_with_its_reason() -> None:
    out, _ = run("--urlconf", "django_secure_auth.headers.urls", "--format", "json")
    (one,) = (row for row in json.loads(out) if row["name"] == "change-password")
    assert one["cross_site"] == "A password manager follows a link of its own."
    out, _ = run("--urlconf", "django_secure_auth.headers.urls")
    assert "; any site (A password manager follows a link of its own.)" in out


def test_the_command_names_a_urlconf_that_is_broken(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.no_such_module"
    with pytest.raises(CommandError, match="ModuleNotFoundError"):
        run("--fail-on-open")


def test_the_command_reads_another_urlconf() -> None:
    out, _ = run("--urlconf", "django_secure_auth.urls", "--fail-on-open")
    assert "/jwks.json" in out


def test_the_command_runs_from_a_shell() -> None:
    """Before any check could stumble over the same URLconf."""
    done = shell("--fail-on-open", settings="tests.settings")
    assert (done.returncode, done.stderr) == (0, "")
    assert "/probe/" in done.stdout
    done = shell("--fail-on-open", "--urlconf", "tests.host_routes", settings="tests.settings")
    assert done.returncode == 1
    assert "/plain/ (plain): anyone" in done.stderr


# --- in tests ----------------------------------------------------------------------------------------


def test_a_projects_tests_can_assert_that_no_door_is_open(configure: Configure) -> None:
    with pytest.raises(AssertionError, match=r"/plain/ \(plain\): anyone"):
        assert_no_open_routes()
    configure(OPEN_ROUTES=[one.name or one.path for one in testing.open_routes()])
    assert_no_open_routes()
    assert testing.open_routes() == []


def test_a_project_without_urls_has_no_views(settings: Any) -> None:
    settings.ROOT_URLCONF = None
    assert views() == view_classes() == []
