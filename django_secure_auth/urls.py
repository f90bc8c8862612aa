"""Door: `path("api/auth/", include("django_secure_auth.urls"))`."""

from django.urls import path

from django_secure_auth.accounts import views as accounts
from django_secure_auth.me import views as me
from django_secure_auth.tokens.views import JWKSView

app_name = "secure_auth"
urlpatterns = [
    path("csrf/", accounts.CSRFView.as_view(), name="csrf"),
    path("login/", accounts.LoginView.as_view(), name="login"),
    path("otp/approve/", accounts.OTPApproveView.as_view(), name="otp-approve"),
    path("otp/resend/", accounts.OTPResendView.as_view(), name="otp-resend"),
    path("refresh/", accounts.RefreshView.as_view(), name="refresh"),
    path("logout/", accounts.LogoutView.as_view(), name="logout"),
    path("register/", accounts.RegisterView.as_view(), name="register"),
    path("register/verify/", accounts.RegisterVerifyView.as_view(), name="register-verify"),
    path("reauthenticate/", accounts.ReauthenticateView.as_view(), name="reauthenticate"),
    path("password/change/", accounts.PasswordChangeView.as_view(), name="password-change"),
    path("password/reset/", accounts.PasswordResetView.as_view(), name="password-reset"),
    path("password/reset/confirm/", accounts.PasswordResetConfirmView.as_view(), name="password-reset-confirm"),
    path("email/change/", accounts.EmailChangeView.as_view(), name="email-change"),
    path("email/undo/", accounts.EmailUndoView.as_view(), name="email-undo"),
    path("not-me/", accounts.NotMeView.as_view(), name="not-me"),
    path("me/", me.MeView.as_view(), name="me"),
    path("me/export/", me.ExportView.as_view(), name="export"),
    path("devices/", me.DeviceListView.as_view(), name="device-list"),
    path("devices/<uuid:device_id>/", me.DeviceDetailView.as_view(), name="device-detail"),
    path("sessions/", me.SessionListView.as_view(), name="session-list"),
    path("sessions/<uuid:session_id>/", me.SessionDetailView.as_view(), name="session-detail"),
    path("activity/", me.ActivityView.as_view(), name="activity"),
    path("api-keys/", me.APIKeyListView.as_view(), name="apikey-list"),
    path("api-keys/<uuid:key_id>/", me.APIKeyDetailView.as_view(), name="apikey-detail"),
    path("api-keys/<uuid:key_id>/rotate/", me.APIKeyRotateView.as_view(), name="apikey-rotate"),
    path("jwks.json", JWKSView.as_view(), name="jwks"),
]
