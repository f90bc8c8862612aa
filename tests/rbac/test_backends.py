"""`user.has_perm()` sees roles: Django, DRF's model permissions, templates and the admin ask there."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.http import HttpRequest
from django.template import engines
from django.test import Client
from django.urls import path, reverse
from rest_framework import serializers
from rest_framework.permissions import DjangoModelPermissions, DjangoObjectPermissions
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.rbac.backends import RoleBackend
from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.services import grant
from tests.browser import Browser, make_user
from tests.rbac.conftest import fresh, permission
from tests.urls import urlpatterns as suite

pytestmark = pytest.mark.django_db


def test_the_users_own_methods_see_roles(ana: Any, editor: Role) -> None:
    grant(ana, editor)
    for user in (ana, fresh(ana)):
        assert user.has_perm("auth.change_group")
        assert user.has_perms(["auth.change_group", "auth.view_group"])
        assert not user.has_perm("auth.delete_group")
        assert user.has_module_perms("auth")
        assert not user.has_module_perms("sessions")
        assert user.get_all_permissions() == {"auth.change_group", "auth.view_group"}


def test_async_code_sees_them_as_well(ana: Any, editor: Role) -> None:
    group = Group.objects.create(name="one")
    grant(ana, "reader")
    grant(ana, editor, obj=group)
    backend = RoleBackend()
    assert async_to_sync(backend.ahas_perm)(fresh(ana), "auth.view_group")
    assert async_to_sync(backend.aget_all_permissions)(fresh(ana), group) == {"auth.view_group", "auth.change_group"}


def test_an_inactive_or_anonymous_user_has_nothing(ana: Any, editor: Role) -> None:
    group = Group.objects.create(name="one")
    grant(ana, editor)
    grant(ana, editor, obj=group)
    ana.is_active = False
    backend = RoleBackend()
    for nobody in (ana, AnonymousUser()):
        assert not backend.has_perm(nobody, "auth.view_group")
        assert not backend.has_perm(nobody, "auth.view_group", group)
        assert not backend.has_module_perms(nobody, "auth")
        assert backend.get_all_permissions(nobody) == set()


def test_it_signs_nobody_in_and_knows_who_is_signed_in(ana: Any) -> None:
    """`force_login` names the first backend in the session; it must find the user again."""
    backend = RoleBackend()
    assert backend.authenticate(HttpRequest(), username="x", password="y") is None
    assert backend.get_user(ana.pk) == ana
    type(ana)._default_manager.filter(pk=ana.pk).update(is_active=False)
    assert backend.get_user(ana.pk) is None
    ana.delete()
    assert backend.get_user(ana.pk) is None


def test_force_login_goes_on_working() -> None:
    root = make_user("root@example.com", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(root)
    assert client.session["_auth_user_backend"].endswith("RoleBackend")
    assert client.get(reverse("admin:index")).status_code == 302  # our admin asks for a sign-in of its own
    assert get_user_model()._default_manager.get(pk=client.session["_auth_user_id"]) == root


def test_who_has_a_permission_can_be_asked(ana: Any, editor: Role) -> None:
    ben, eve = make_user("ben@example.com"), make_user("eve@example.com", is_active=False)
    root = make_user("root@example.com", is_superuser=True)
    group = Group.objects.create(name="one")
    grant(ana, editor)
    grant(ben, editor, obj=group)
    grant(eve, editor)
    ask = RoleBackend().with_perm
    assert set(ask("auth.view_group")) == {ana, root}
    assert set(ask(permission("auth.view_group"), include_superusers=False)) == {ana}
    assert set(ask("auth.view_group", obj=group, include_superusers=False)) == {ana, ben}
    assert set(ask("auth.view_group", is_active=None, include_superusers=False)) == {ana, eve}
    assert set(ask("auth.view_group", is_active=False)) == {eve}
    assert not ask("auth.delete_group", include_superusers=False).exists()


def test_a_template_sees_them(ana: Any, editor: Role) -> None:
    grant(ana, editor)
    request = HttpRequest()
    request.user = fresh(ana)
    template = engines["django"].from_string(
        "{{ perms.auth.change_group }} {{ perms.auth.delete_group }} {{ perms.x }}"
    )
    assert template.render({}, request).split()[:2] == ["True", "False"]


# --- DRF's own permission classes --------------------------------------------------------------------


class GroupSerializer(serializers.ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("id", "name")


class ModelView(ModelViewSet[Group]):
    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer
    permission_classes = (DjangoModelPermissions,)


class ObjectView(ModelView):
    permission_classes = (DjangoObjectPermissions,)


methods = {"get": "retrieve", "put": "update", "delete": "destroy"}
urlpatterns = [
    *suite,
    path("model/<int:pk>/", ModelView.as_view(methods)),
    path("object/<int:pk>/", ObjectView.as_view(methods)),
]


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["model", "object"])
def test_drfs_model_and_object_permissions_see_them(ana: Any, editor: Role, browser: Browser, kind: str) -> None:
    group = Group.objects.create(name="one")
    browser.sign_in()
    where, body = f"/{kind}/{group.pk}/", {"name": "two"}
    assert browser.request("PUT", where, body).status_code == 403
    grant(ana, editor)
    assert browser.request("PUT", where, body).status_code == 200
    assert browser.request("DELETE", where).status_code == 403
