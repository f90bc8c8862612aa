"""Rows of the checklist about other packages: settings of theirs that undo what ours promise; versions without support.

A package is known by its name in INSTALLED_APPS, and by its settings as its documentation names them; none is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import django
from django.conf import settings
from django.utils import timezone

from django_secure_auth.doctor.policy import error, listed, warning
from django_secure_auth.kit.opaque import is_equal


def is_installed(package: str) -> bool:
    """Whether INSTALLED_APPS has this package, or an app inside of it."""
    return any(name == package or name.startswith(f"{package}.") for name in settings.INSTALLED_APPS)


def _told(name: str) -> Mapping[str, Any]:
    """A package's dict of settings; empty where there is none."""
    value = getattr(settings, name, None)
    return value if isinstance(value, Mapping) else {}


# --- development tools -------------------------------------------------------------------------------


@error(
    102,
    "packages",
    "Tools for development are installed: {}. They show requests, SQL and settings, or run code.",
    "Add them to INSTALLED_APPS only where DEBUG is on.",
    controls=["ASVS-13.4.2", "ASVS-15.2.3"],
)
def development_tools() -> str:
    if settings.DEBUG:
        return ""
    tools = ("debug_toolbar", "sslserver", "django_browser_reload", "django_pdb", "django_fastdev", "pympler")
    return listed(tool for tool in tools if is_installed(tool))


@warning(
    178,
    "packages",
    "django_extensions is installed: with Werkzeug, `runserver_plus` has a console that runs code.",
    "Add it to INSTALLED_APPS only where DEBUG is on.",
    controls=["ASVS-15.2.3"],
)
def extensions() -> bool:
    return is_installed("django_extensions") and not settings.DEBUG


@error(
    113,
    "packages",
    "Silk shows recorded requests, passwords and cookies among them, to everybody.",
    "Set SILKY_AUTHENTICATION and SILKY_AUTHORISATION, or remove it in production.",
    controls=["ASVS-13.4.5"],
)
def silk_is_open() -> bool:
    asks = getattr(settings, "SILKY_AUTHENTICATION", False) and getattr(settings, "SILKY_AUTHORISATION", False)
    return is_installed("silk") and not asks


# --- simplejwt ---------------------------------------------------------------------------------------


def _simplejwt() -> Mapping[str, Any] | None:
    classes = getattr(settings, "REST_FRAMEWORK", {}).get("DEFAULT_AUTHENTICATION_CLASSES", ())
    is_used = is_installed("rest_framework_simplejwt") or any("simplejwt" in str(name) for name in classes)
    return _told("SIMPLE_JWT") if is_used or hasattr(settings, "SIMPLE_JWT") else None


@warning(
    179,
    "packages",
    "simplejwt rotates refresh tokens and leaves the old ones valid: a stolen one works beside the new.",
    "Set BLACKLIST_AFTER_ROTATION, and install rest_framework_simplejwt.token_blacklist.",
    controls=["ASVS-7.4.1"],
)
def rotation_without_blacklist() -> bool:
    told = _simplejwt() or {}
    is_kept = told.get("BLACKLIST_AFTER_ROTATION") and is_installed("rest_framework_simplejwt.token_blacklist")
    return bool(told.get("ROTATE_REFRESH_TOKENS") and not is_kept)


@warning(
    180,
    "packages",
    "simplejwt's tokens live long: {}.",
    "At most 15 minutes for access, 30 days for refresh.",
    controls=["ASVS-7.3.2", "ASVS-7.4.1"],
)
def tokens_live_long() -> str:
    told = _simplejwt() or {}
    bounds = {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=15), "REFRESH_TOKEN_LIFETIME": timedelta(days=30)}
    return listed(name for name, longest in bounds.items() if told.get(name, longest) > longest)


@error(
    114,
    "packages",
    "simplejwt signs with SECRET_KEY: who learns it signs in as anybody, and it cannot be changed alone.",
    "Set SIMPLE_JWT['SIGNING_KEY'] to a secret of its own.",
    controls=["CS-JWT-hmac-key", "DJ-checklist-SECRETS"],
)
def tokens_are_signed_with_secret_key() -> bool:
    told = _simplejwt()
    if told is None or not str(told.get("ALGORITHM", "HS256")).startswith("HS"):
        return False
    return is_equal(str(told.get("SIGNING_KEY", settings.SECRET_KEY)), str(settings.SECRET_KEY))


# --- allauth, dj-rest-auth, social-auth --------------------------------------------------------------


@warning(
    182,
    "packages",
    "allauth takes e-mail addresses that nobody has proven (ACCOUNT_EMAIL_VERIFICATION): {}.",
    "Set it to 'mandatory'.",
    controls=["ASVS-6.4.1"],
)
def addresses_are_not_proven() -> str:
    told = str(getattr(settings, "ACCOUNT_EMAIL_VERIFICATION", "optional"))
    return told if is_installed("allauth") and told != "mandatory" else ""


_ON_GET = ("ACCOUNT_LOGOUT_ON_GET", "ACCOUNT_CONFIRM_EMAIL_ON_GET", "SOCIALACCOUNT_LOGIN_ON_GET")


@warning(
    183,
    "packages",
    "A link or a picture on another site signs people in or out (allauth): {}.",
    "Remove it; allauth then asks with a form.",
    controls=["ASVS-3.5.3", "ASVS-7.6.2"],
)
def links_sign_in() -> str:
    return listed(name for name in _ON_GET if getattr(settings, name, False)) if is_installed("allauth") else ""


@warning(
    184,
    "packages",
    "allauth counts no attempts (ACCOUNT_RATE_LIMITS is off).",
    "Remove it: the defaults count.",
    controls=["ASVS-6.3.1"],
)
def allauth_counts_nothing() -> bool:
    return is_installed("allauth") and getattr(settings, "ACCOUNT_RATE_LIMITS", True) in (False, None, {})


@warning(
    186,
    "packages",
    "allauth tells who has an account (ACCOUNT_PREVENT_ENUMERATION is off).",
    "Remove it.",
    controls=["ASVS-6.3.8"],
)
def allauth_tells_accounts() -> bool:
    return is_installed("allauth") and not getattr(settings, "ACCOUNT_PREVENT_ENUMERATION", True)


@warning(
    187,
    "packages",
    "allauth lets a provider sign in whoever has the address it names (SOCIALACCOUNT_EMAIL_AUTHENTICATION).",
    "Turn it off, or on for providers only that prove addresses.",
    controls=["ASVS-6.3.4"],
)
def providers_name_the_account() -> bool:
    return is_installed("allauth") and bool(getattr(settings, "SOCIALACCOUNT_EMAIL_AUTHENTICATION", False))


@warning(
    185,
    "packages",
    "allauth's reset signs in by itself (ACCOUNT_LOGIN_ON_PASSWORD_RESET).",
    "Remove it: who holds a link out of a mailbox then has to sign in as well.",
    controls=["ASVS-6.4.3", "CS-ForgotPassword-nologin"],
)
def reset_signs_in() -> bool:
    return is_installed("allauth") and bool(getattr(settings, "ACCOUNT_LOGIN_ON_PASSWORD_RESET", False))


def _rest_auth() -> Mapping[str, Any]:
    return _told("REST_AUTH") if is_installed("dj_rest_auth") else {}


@warning(
    188,
    "packages",
    "dj-rest-auth hands tokens to scripts (JWT_AUTH_HTTPONLY is off).",
    "Remove it.",
    controls=["ASVS-3.3.4", "ASVS-10.1.1"],
)
def scripts_get_tokens() -> bool:
    return bool(_rest_auth().get("USE_JWT")) and not _rest_auth().get("JWT_AUTH_HTTPONLY", True)


@warning(
    189,
    "packages",
    "dj-rest-auth's cookies travel in clear, or without a CSRF token: {}.",
    "Set JWT_AUTH_SECURE and JWT_AUTH_COOKIE_USE_CSRF.",
    controls=["ASVS-3.3.1", "ASVS-3.5.1"],
)
def cookies_of_rest_auth() -> str:
    told = _rest_auth()
    if not told.get("USE_JWT") or not told.get("JWT_AUTH_COOKIE"):
        return ""
    asks = told.get("JWT_AUTH_COOKIE_USE_CSRF") or told.get("JWT_AUTH_COOKIE_ENFORCE_CSRF_ON_UNAUTHENTICATED")
    return listed(
        [
            *([] if told.get("JWT_AUTH_SECURE") else ["JWT_AUTH_SECURE"]),
            *([] if asks else ["JWT_AUTH_COOKIE_USE_CSRF"]),
        ]
    )


@warning(
    195,
    "packages",
    "social-auth sends people anywhere after signing in (SOCIAL_AUTH_SANITIZE_REDIRECTS is off).",
    "Remove it.",
    controls=["ASVS-1.2.2"],
)
def redirects_lead_anywhere() -> bool:
    return is_installed("social_django") and not getattr(settings, "SOCIAL_AUTH_SANITIZE_REDIRECTS", True)


# --- others ------------------------------------------------------------------------------------------


@warning(
    190,
    "packages",
    "django-axes is switched off (AXES_ENABLED).",
    "Remove the setting, or the package.",
    controls=["ASVS-6.3.1"],
)
def axes_are_off() -> bool:
    return is_installed("axes") and not getattr(settings, "AXES_ENABLED", True)


@warning(
    191,
    "packages",
    "django-axes believes X-Forwarded-For as it comes: who invents one is never locked out, or locks out others.",
    "Set AXES_IPWARE_PROXY_COUNT, or remove the header from AXES_IPWARE_META_PRECEDENCE_ORDER.",
    controls=["ASVS-4.1.3", "ASVS-15.3.4"],
)
def axes_believe_callers() -> bool:
    order = getattr(settings, "AXES_IPWARE_META_PRECEDENCE_ORDER", getattr(settings, "AXES_META_PRECEDENCE_ORDER", ()))
    count = getattr(settings, "AXES_IPWARE_PROXY_COUNT", getattr(settings, "AXES_PROXY_COUNT", None))
    return is_installed("axes") and "HTTP_X_FORWARDED_FOR" in order and count is None


@warning(
    192,
    "packages",
    "rest_framework.authtoken is installed: its tokens lie in the table in clear, and live for ever.",
    "Use API keys (docs/apikeys.md), and remove the app.",
    controls=["ASVS-7.2.3", "ASVS-7.2.2"],
)
def eternal_tokens() -> bool:
    return is_installed("rest_framework.authtoken")


@warning(
    193,
    "packages",
    "OAuth Toolkit does not ask for PKCE (PKCE_REQUIRED): who reads a code along the way can use it.",
    "Remove it: the default asks (RFC 9700 §2.1.1).",
    controls=["ASVS-10.4.4"],
)
def codes_without_pkce() -> bool:
    return is_installed("oauth2_provider") and not _told("OAUTH2_PROVIDER").get("PKCE_REQUIRED", True)


@warning(
    194,
    "packages",
    "OAuth Toolkit sends codes where others read them: {}.",
    "Allow https only, without wildcards (RFC 9700 §2.1).",
    controls=["ASVS-10.4.4"],
)
def codes_go_astray() -> str:
    if not is_installed("oauth2_provider"):
        return ""
    told = _told("OAUTH2_PROVIDER")
    return listed(
        [
            # Its default is ["http", "https"]; only who writes it down has decided.
            *(
                ["http in ALLOWED_REDIRECT_URI_SCHEMES"]
                if "http" in told.get("ALLOWED_REDIRECT_URI_SCHEMES", ["http"])
                else []
            ),
            *(["ALLOW_URI_WILDCARDS"] if told.get("ALLOW_URI_WILDCARDS") else []),
        ]
    )


@warning(
    196,
    "headers",
    "A Content-Security-Policy lets any script run: {}.",
    "Use nonces (csp_nonce).",
    controls=["ASVS-3.4.3", "OBS-content-security-policy"],
)
def any_script_runs() -> str:
    policies = {
        "SECURE_CSP": _told("SECURE_CSP"),
        "CONTENT_SECURITY_POLICY": _told("CONTENT_SECURITY_POLICY").get("DIRECTIVES", {}),
    }
    policies["CSP_SCRIPT_SRC"] = {"script-src": getattr(settings, "CSP_SCRIPT_SRC", None)}
    return listed(name for name, policy in policies.items() if _is_loose(policy))


def _is_loose(policy: Mapping[str, Any]) -> bool:
    sources = policy.get("script-src") or policy.get("default-src") or ()
    given = {str(one) for one in ([sources] if isinstance(sources, str) else sources)}
    guarded = any("nonce" in one.lower() or one.startswith("'sha") or "strict-dynamic" in one for one in given)
    return "'unsafe-eval'" in given or "*" in given or ("'unsafe-inline'" in given and not guarded)


@warning(
    197,
    "packages",
    "django-impersonate or django-hijack lets staff become superusers: {}.",
    "Remove it: whoever may look through one user's eyes is then everybody.",
    controls=["ASVS-8.4.2"],
)
def staff_become_superusers() -> str:
    found = ["IMPERSONATE"] if is_installed("impersonate") and _told("IMPERSONATE").get("ALLOW_SUPERUSER") else []
    check = str(getattr(settings, "HIJACK_PERMISSION_CHECK", ""))
    found += ["HIJACK_PERMISSION_CHECK"] if is_installed("hijack") and check.endswith("superusers_and_staff") else []
    return listed(found)


# --- versions ----------------------------------------------------------------------------------------

# The last day of security fixes, as published when this was written (devguide.python.org/versions,
# djangoproject.com/download). A series that is not here is newer.
PYTHON_ENDS = {
    (3, 11): date(2027, 10, 31),
    (3, 12): date(2028, 10, 31),
    (3, 13): date(2029, 10, 31),
    (3, 14): date(2030, 10, 31),
}
DJANGO_ENDS = {
    (5, 2): date(2028, 4, 30),
    (6, 0): date(2027, 4, 30),
    (6, 1): date(2027, 12, 31),
}


@warning(
    198,
    "dependencies",
    "No security fixes any more: {}.",
    "Update to a series that has them.",
    controls=["ASVS-15.2.3"],
)
def nobody_fixes() -> str:
    today = timezone.now().date()
    running = {"Python": (sys.version_info[:2], PYTHON_ENDS), "Django": (django.VERSION[:2], DJANGO_ENDS)}
    return listed(
        f"{name} {series[0]}.{series[1]} since {ends[series]}"
        for name, (series, ends) in running.items()
        if series in ends and ends[series] < today
    )


@warning(
    150,
    "dependencies",
    "Installed packages have known vulnerabilities: {}.",
    "Update them; `pip-audit` names the versions that are fixed.",
    controls=["ASVS-15.2.1"],
)
def vulnerable() -> bool:
    return False  # asked for with `secure_auth_doctor --audit` only: it needs the network
