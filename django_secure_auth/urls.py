"""Door: `path("api/auth/", include("django_secure_auth.urls"))`."""

from django.urls import path

from django_secure_auth.accounts import views
from django_secure_auth.tokens.views import JWKSView

app_name = "secure_auth"
urlpatterns = [
    path("csrf/", views.CSRFView.as_view(), name="csrf"),
    path("login/", views.LoginView.as_view(), name="login"),
    path("otp/approve/", views.OTPApproveView.as_view(), name="otp-approve"),
    path("otp/resend/", views.OTPResendView.as_view(), name="otp-resend"),
    path("refresh/", views.RefreshView.as_view(), name="refresh"),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("register/", views.RegisterView.as_view(), name="register"),
    path("register/verify/", views.RegisterVerifyView.as_view(), name="register-verify"),
    path("reauthenticate/", views.ReauthenticateView.as_view(), name="reauthenticate"),
    path("password/change/", views.PasswordChangeView.as_view(), name="password-change"),
    path("password/reset/", views.PasswordResetView.as_view(), name="password-reset"),
    path("password/reset/confirm/", views.PasswordResetConfirmView.as_view(), name="password-reset-confirm"),
    path("email/change/", views.EmailChangeView.as_view(), name="email-change"),
    path("email/undo/", views.EmailUndoView.as_view(), name="email-undo"),
    path("not-me/", views.NotMeView.as_view(), name="not-me"),
    path("me/", views.MeView.as_view(), name="me"),
    path("me/export/", views.ExportView.as_view(), name="export"),
    path("devices/", views.DeviceListView.as_view(), name="device-list"),
    path("devices/<uuid:device_id>/", views.DeviceDetailView.as_view(), name="device-detail"),
    path("sessions/", views.SessionListView.as_view(), name="session-list"),
    path("sessions/<uuid:session_id>/", views.SessionDetailView.as_view(), name="session-detail"),
    path("activity/", views.ActivityView.as_view(), name="activity"),
    path("api-keys/", views.APIKeyListView.as_view(), name="apikey-list"),
    path("api-keys/<uuid:key_id>/", views.APIKeyDetailView.as_view(), name="apikey-detail"),
    path("api-keys/<uuid:key_id>/rotate/", views.APIKeyRotateView.as_view(), name="apikey-rotate"),
    path("jwks.json", JWKSView.as_view(), name="jwks"),
]
