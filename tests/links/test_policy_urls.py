"""Addresses that are mailed: under `BASE_URL`, and nothing that was typed gets into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from django_secure_auth.conf import Conf
from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.policy import url_of

FOREIGN = [
    "javascript:alert(1)", "data:text/html,x", "//evil.example", "https:evil.example", "\thttps://evil.example",
    "https://evil.example\n", "https://good.example@evil.example", "https://evil.example\\@good.example",
]  # fmt: skip


@pytest.mark.control("ASVS-1.2.2")
@pytest.mark.parametrize("url", FOREIGN)
def test_a_base_that_is_no_plain_address_is_refused(url: str) -> None:
    assert Conf.BASE_URL.judge(url) is not None


@pytest.mark.control("ASVS-1.2.2")
@pytest.mark.parametrize("path", [*FOREIGN, "/reset/", "/a b/{uid}/{token}", "/{uid}/{token}\r\nBcc: eve"])
def test_so_is_a_path_that_leads_elsewhere(path: str) -> None:
    assert Conf.PASSWORD_RESET_PATH.judge(path) is not None


@pytest.mark.control("ASVS-1.2.2")
def test_an_address_is_made_of_the_base_the_path_and_characters_that_need_no_encoding(
    configure: Callable[..., None], settings: Any
) -> None:
    configure(BASE_URL="https://app.example/shop/")
    found = urlsplit(url_of(MailedLink(email="a&b#c@example.com"), Conf.PASSWORD_RESET_PATH.default, token="AZaz09-_"))
    assert (found.scheme, found.hostname) == ("https", "app.example")
    assert found.path == "/shop/reset-password/"
    assert found.fragment.endswith("&token=AZaz09-_")
    assert "example.com" not in found.fragment
