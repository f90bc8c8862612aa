"""Sign in as a user from the admin: whom, why, and once more the own password."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from django_secure_auth.accounts.services import present_session
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.exceptions import InvalidCredentials, SecureAuthError
from django_secure_auth.impersonation.models import Impersonation
from django_secure_auth.impersonation.services import impersonate
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.mail import address_of
from django_secure_auth.passwords.services import prove_password, reserve_attempt
from django_secure_auth.sessions.admin import SessionAdmin
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all_of_impersonator, may_impersonate
from django_secure_auth.staff.admin import has_approved
from django_secure_auth.strict.fields import MAX_PASSWORD_POINTS
from django_secure_auth.tokens import cookies
from django_secure_auth.tokens.services import issue

logger = logging.getLogger("django_secure_auth")

if TYPE_CHECKING:  # generic in the stubs only
    _Form = forms.ModelForm[Impersonation]
else:
    _Form = forms.ModelForm


class ImpersonationForm(_Form):
    """The own password is an attempt like any other: counted, then judged, and only when the rest is in order."""

    reason = forms.CharField(
        label=_("Reason"),
        min_length=10,
        max_length=200,
        help_text=_("It is kept in the audit trail."),
        widget=AdminTextInputWidget(),
    )
    password = forms.CharField(
        label=_("Your own password"),
        max_length=MAX_PASSWORD_POINTS,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "class": "vTextField"}),
    )
    request: ClassVar[HttpRequest]

    def clean(self) -> dict[str, Any]:
        if self.errors:
            return self.cleaned_data
        by: Any = self.request.user
        user = self.cleaned_data["user"]
        if not may_impersonate(by.pk, user):
            record(events.IMPERSONATION_FAIL, request=self.request, user=user, actor=by, reason="policy")
            raise ValidationError({"user": _("Nobody may sign in as this user.")})
        try:
            self._prove(by)
        except InvalidCredentials:
            raise ValidationError({"password": _("The password is not right.")}) from None
        except SecureAuthError as refusal:
            raise ValidationError(_(str(refusal.detail))) from None
        return self.cleaned_data

    def _prove(self, by: Any) -> None:
        found = get_user_model()._base_manager.get(pk=by.pk)
        identifier = canonical_identifier(address_of(found) or found.get_username())
        attempt = reserve_attempt(self.request, identifier, device=self.request.session.session_key)
        password = self.cleaned_data["password"]
        prove_password(self.request, found, password, attempt, refused=events.IMPERSONATION_FAIL)


@receiver(user_logged_out, dispatch_uid="secure_auth.impersonation")
def end_with_the_admins_session(request: HttpRequest | None, user: Any, **_: object) -> None:
    """Whoever signs out of the admin has signed out as everybody else, too."""
    if user is None or request is None or not has_approved(request):
        return
    try:
        end_all_of_impersonator(user, reason="sign_out")
    except SecureAuthError:  # the state cache is away; signing out is not refused for that
        logger.exception("Impersonations go on after a sign-out from the admin, until their time is over.")


@admin.register(Impersonation)
class ImpersonationAdmin(SessionAdmin):
    """Adding a row signs this browser in as the user, at the API. Rows are ended like any session."""

    list_display = ("user", "impersonator", "alive", "impersonation_reason", "created_at", "absolute_at")
    list_select_related = ("user", "impersonator")
    raw_id_fields = ("user",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return super().get_queryset(request).exclude(impersonator=None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        # SessionAdmin says no to everybody. And whoever has not approved a code here has proven too little.
        return admin.ModelAdmin.has_add_permission(self, request) and has_approved(request)

    def get_fields(self, request: HttpRequest, obj: Session | None = None) -> Any:
        return super().get_fields(request, obj) if obj else ("user", "reason", "password")

    def get_form(self, request: HttpRequest, obj: Session | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = type("Form", (ImpersonationForm,), {"request": request})
        return super().get_form(request, obj, change, **kwargs)

    @method_decorator(sensitive_post_parameters("password"))
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        try:
            return super().add_view(request, form_url, {**one_button, **(extra_context or {})})
        except SecureAuthError as refusal:
            # A part is away, or the user was changed in this very moment: nothing is done.
            self.message_user(request, _(str(refusal.detail)), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Session, form: forms.ModelForm[Any], change: bool) -> None:
        by: Any = request.user
        session = impersonate(
            request, by=by, user=obj.user, reason=form.cleaned_data["reason"], replacing=present_session(request)
        )
        obj.__dict__.update(session.__dict__)

    def response_add(self, request: HttpRequest, obj: Session, post_url_continue: str | None = None) -> HttpResponse:
        response = HttpResponseRedirect(conf.IMPERSONATION_PATH)
        cookies.write_tokens(response, issue(obj), keep_until=None)
        return response
