"""Links in the admin: what became of them, and nothing that opens one."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from django_secure_auth.links.models import MailedLink
from django_secure_auth.links.policy import token_of
from tests.browser import Browser, admin_browser

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_link_is_shown_without_what_opens_it(configure: Any) -> None:
    configure(BASE_URL="https://app.example")
    root = admin_browser()
    Browser().post("password-reset", {"email": "root@example.com"})
    link = MailedLink.objects.get(purpose="password_reset")
    listed = root.page(reverse("admin:django_secure_auth_mailedlink_changelist"))
    shown = root.page(reverse("admin:django_secure_auth_mailedlink_change", args=[link.pk]))
    for page in (listed, shown):
        assert page.status_code == 200
        text = page.content.decode()
        assert "root@example.com" in text
        for secret in (str(token_of(link)), link.nonce, link.bound_to):
            assert secret not in text
    for name, args in (("add", []), ("delete", [link.pk])):
        assert root.page(reverse(f"admin:django_secure_auth_mailedlink_{name}", args=args)).status_code == 403
