"""Sign-in to Django's admin under the same limits and the same policy: password, then the mailed code."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model, load_backend, login
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import InvalidCredentials, OTPInvalid, SecureAuthError
from django_secure_auth.kit.identifiers import canonical_identifier
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.otp.policy import is_code
from django_secure_auth.passwords.services import is_known_to_others, prove_password, reserve_attempt
from django_secure_auth.recovery.services import refuse_compromised
from django_secure_auth.strict.fields import MAX_PASSWORD_POINTS
from django_secure_auth.tokens import cookies

PURPOSE = "admin"
_APPROVED = "_secure_auth_approved"
_REDIRECT = "next"


def _told(refusal: SecureAuthError) -> str:
    return _(str(refusal.detail))


class LimitedAuthenticationForm(AdminAuthenticationForm):
    """The admin's form; attempts are counted before they are judged, as at our own sign-in."""

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if name is None or not password or self.request is None:
            return self.cleaned_data
        if len(password) > MAX_PASSWORD_POINTS:  # nobody makes us hash a megabyte, here either
            raise self.get_invalid_login_error()
        model = get_user_model()
        found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
        # One budget for each account, whether somebody guesses here by its name or at the API by its address.
        identifier = canonical_identifier(getattr(found, model.get_email_field_name(), "") or name)
        device = cookies.read_cookie(self.request, "device")
        is_known = found is not None and found.pk in otp.users_of_device(device)
        try:
            attempt = reserve_attempt(self.request, identifier, device=device if is_known else None)
            user: Any = prove_password(self.request, found, password, attempt)
            if is_known_to_others(found or user, password):
                refuse_compromised(self.request, found or user, password)
        except InvalidCredentials:
            raise self.get_invalid_login_error() from None
        except SecureAuthError as refusal:
            raise ValidationError(_told(refusal)) from None
        self.confirm_login_allowed(user)
        self.user_cache = user
        return self.cleaned_data


def _backend_of(user: Any) -> str:
    # Django asks the backend that the session names for the user, with every request: one that knows nobody, or is
    # not configured, would sign nobody in.
    paths = settings.AUTHENTICATION_BACKENDS
    return next((path for path in paths if load_backend(path).get_user(user.pk) is not None), paths[0])


def has_approved(request: HttpRequest) -> bool:
    """Tell whether whoever is signed in to the admin has approved a mailed code there."""
    session = getattr(request, "session", None)
    return bool(session is not None and session.get(_APPROVED))


class SecureAdminSite(AdminSite):
    """An admin that accepts only its own sign-in: a session opened elsewhere has proven less."""

    login_form = LimitedAuthenticationForm

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and has_approved(request)

    @login_not_required  # as Django says of its own: LoginRequiredMiddleware would send the page to itself
    @method_decorator([never_cache, sensitive_post_parameters(), csrf_protect])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(self._target(request))
        if request.method == "POST" and "otp_code" in request.POST:
            return self._approve(request)
        if request.method == "POST":
            form = LimitedAuthenticationForm(request, data=request.POST)
            return self._second_step(request, form) if form.is_valid() else self._page(request, form=form)
        return self._page(request, form=LimitedAuthenticationForm(request))

    def _second_step(self, request: HttpRequest, form: LimitedAuthenticationForm) -> HttpResponse:
        user = form.get_user()  # staff, or the form would have refused: they always need a code
        otp.close(cookies.read_cookie(request, "challenge"), reason="replaced")
        try:
            started = otp.start(user, purpose=PURPOSE, request=request, amr=["pwd"])
        except SecureAuthError as refusal:
            form.add_error(None, _told(refusal))
            return self._page(request, form=form)
        response = self._page(request, challenge=started.challenge)
        cookies.write_challenge(response, started.secret)
        return response

    def _approve(self, request: HttpRequest) -> HttpResponse:
        code = request.POST.get("otp_code", "")
        try:
            challenge = otp.find(cookies.read_cookie(request, "challenge"))
        except SecureAuthError as refusal:
            return self._start_again(request, refusal)
        try:
            if challenge.purpose != PURPOSE or not is_code(code):
                return self._page(request, challenge=challenge, error=_("Enter the code from the mail."))
            otp.verify(challenge, code, request=request)
        except OTPInvalid as refusal:
            return self._page(request, challenge=challenge, error=_told(refusal))
        except SecureAuthError as refusal:
            return self._start_again(request, refusal)
        user: Any = challenge.user
        with transaction.atomic(using=router.db_for_write(TrustedDevice)):  # trust and sign-in, or neither
            response = self._enter(request, user)
            device = otp.trust_device(user, secret=cookies.read_cookie(request, "device"), request=request)
        cookies.write_device(response, device)  # a budget of its own at the next sign-in; the code is asked for again
        cookies.clear(response, "challenge")
        return response

    def _start_again(self, request: HttpRequest, refusal: SecureAuthError) -> HttpResponse:
        messages.error(request, _told(refusal))
        return self._page(request, form=LimitedAuthenticationForm(request))

    def _enter(self, request: HttpRequest, user: Any) -> HttpResponse:
        login(request, user, backend=_backend_of(user))
        request.session[_APPROVED] = True
        record(events.LOGIN_SUCCESS, request=request, user=user, at="admin")
        return HttpResponseRedirect(self._target(request))

    def _target(self, request: HttpRequest) -> str:
        wanted = request.POST.get(_REDIRECT) or request.GET.get(_REDIRECT) or ""
        if url_has_allowed_host_and_scheme(
            wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        ):
            return wanted
        return resolve_url(f"{self.name}:index")

    def _page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        full = {
            **self.each_context(request),
            "title": _("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username() if request.user.is_authenticated else "",
            _REDIRECT: self._target(request),
            **context,
        }
        request.current_app = self.name  # what AdminSite.login does
        asks_for_code = "challenge" in context
        template = "django_secure_auth/admin_code.html" if asks_for_code else self.login_template or "admin/login.html"
        return TemplateResponse(request, template, full)
