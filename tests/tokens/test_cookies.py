"""Where the cookies go."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.urls import clear_script_prefix, include, path, set_script_prefix
from django.utils import translation

from django_secure_auth.tokens.cookies import mount_point

urlpatterns = i18n_patterns(path("auth/", include("django_secure_auth.urls")))


@pytest.mark.urls(__name__)
def test_the_refresh_cookie_goes_where_the_urls_are_in_this_language_and_under_this_prefix() -> None:
    for language in ("en", "de", "en"):
        with translation.override(language):
            assert mount_point() == f"/{language}/auth/"
    set_script_prefix("/shop/")
    try:
        with translation.override("en"):
            assert mount_point() == "/shop/en/auth/"
    finally:
        clear_script_prefix()


def test_another_urlconf_is_another_mount_point(settings: Any) -> None:
    before = mount_point()
    settings.ROOT_URLCONF = __name__
    with translation.override("de"):
        assert mount_point() == "/de/auth/" != before
