"""Rows of the checklist about the site itself: debugging, secrets, cookies, HTTPS, hosts, admin, passwords, bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.contrib.auth.password_validation import CommonPasswordValidator, MinimumLengthValidator
from django.contrib.auth.views import PasswordResetConfirmView
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from django_secure_auth.conf import conf
from django_secure_auth.doctor.backing import brokers, locations, mailers
from django_secure_auth.doctor.policy import error, listed, warning
from django_secure_auth.kit.opaque import is_equal
from django_secure_auth.routes import view_classes

_A_DAY = 24 * 3600

# --- debugging ---------------------------------------------------------------------------------------


def _engines() -> list[Mapping[str, Any]]:
    return [cast("Mapping[str, Any]", engine).get("OPTIONS", {}) for engine in settings.TEMPLATES]


@warning(
    118,
    "debug",
    "A template engine has its `debug` on: error pages show the source of templates.",
    "Remove OPTIONS['debug'] from TEMPLATES; it follows DEBUG.",
    controls=["ASVS-13.4.2"],
)
def templates_debug() -> bool:
    return any(options.get("debug") for options in _engines())


@error(
    104,
    "debug",
    "A template engine does not escape (`autoescape` is off): pages that show what somebody wrote are open to XSS.",
    "Remove OPTIONS['autoescape'] from TEMPLATES, and mark what is safe as safe.",
    controls=["ASVS-1.1.2"],
)
def templates_do_not_escape() -> bool:
    return any(options.get("autoescape") is False for options in _engines())


@warning(
    119,
    "debug",
    "DEBUG_PROPAGATE_EXCEPTIONS is on: errors leave Django unhandled, and a server may show their traceback.",
    "Remove it: it is for tests.",
    controls=["ASVS-16.5.1"],
)
def exceptions_propagate() -> bool:
    return bool(settings.DEBUG_PROPAGATE_EXCEPTIONS)


# --- secrets -----------------------------------------------------------------------------------------


def _other_secrets() -> Iterator[tuple[str, str]]:
    """Every secret beside SECRET_KEY that settings hold, with the name of its purpose, never to be shown."""
    for entry in conf.SIGNING_KEYS or ():
        key = entry["key"]
        yield "SIGNING_KEYS", key if isinstance(key, str) else str(key.get("k", ""))  # of a JWK
    for entry in conf.ENCRYPTION_KEYS or ():
        yield "ENCRYPTION_KEYS", entry["key"]
    for database in settings.DATABASES.values():
        yield "the password of a database", str(database.get("PASSWORD") or "")
    for url in brokers():
        yield "the password of the broker", url.password or ""
    for _, location in locations():
        yield "the password of a cache", location.password or ""
    for _, options in mailers():
        yield "the password of the mail server", str(options.get("password") or "")


# E013 judges the first pair; one Redis often is cache and broker.
_MAY_SHARE = (
    {"SIGNING_KEYS", "ENCRYPTION_KEYS"},
    {"the password of the broker", "the password of a cache"},
)


@error(
    100,
    "secrets",
    "SECRET_KEY is also {}: who learns one has the other.",
    "Make a secret of its own for each purpose: `secrets.token_urlsafe(50)`.",
    controls=["DJ-checklist-SECRETS", "CS-JWT-hmac-key"],
)
def secret_key_has_two_purposes() -> str:
    keys = [str(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    return listed(name for name, secret in _other_secrets() for key in keys if secret and is_equal(secret, key))


@warning(
    100,
    "secrets",
    "One secret has two purposes: {}.",
    "Give each service a password of its own, so that the loss of one is not the loss of all.",
    controls=["DJ-checklist-SECRETS"],
)
def services_share_a_secret() -> str:
    pairs = combinations([pair for pair in _other_secrets() if pair[1]], 2)
    return listed(
        f"{one} and {other}"
        for (one, left), (other, right) in pairs
        if not any({one, other} <= kind for kind in _MAY_SHARE) and one != other and is_equal(left, right)
    )


_FEW = 3


@warning(
    101,
    "secrets",
    "SECRET_KEY_FALLBACKS holds more than three keys: each of them still makes what the site believes.",
    "Remove a retired key once the longest session or link that it has signed is over.",
    controls=["DJ-checklist-SECRETS", "DJ-security.W025"],
)
def too_many_fallbacks() -> bool:
    return len(settings.SECRET_KEY_FALLBACKS) > _FEW


# --- cookies and sessions ----------------------------------------------------------------------------


def _crosses_sites(value: Any) -> bool:
    return not value or str(value).lower() == "none"


@warning(
    104,
    "cookies",
    "SESSION_COOKIE_SAMESITE lets other sites send the session cookie along.",
    "Set it to 'Lax' or 'Strict'.",
    controls=["ASVS-3.3.2", "OBS-cookies"],
)
def session_cookie_crosses_sites() -> bool:
    return _crosses_sites(settings.SESSION_COOKIE_SAMESITE)


@warning(
    105,
    "cookies",
    "CSRF_COOKIE_SAMESITE lets other sites send the CSRF cookie along.",
    "Set it to 'Lax' or 'Strict'.",
    controls=["ASVS-3.3.2", "OBS-cookies"],
)
def csrf_cookie_crosses_sites() -> bool:
    return _crosses_sites(settings.CSRF_COOKIE_SAMESITE)


@warning(
    106,
    "cookies",
    "SESSION_COOKIE_AGE is more than 30 days.",
    "Shorten it: a stolen cookie works as long (NIST SP 800-63B-4 §2.1.3).",
    controls=["ASVS-7.3.2"],
)
def sessions_live_long() -> bool:
    return settings.SESSION_COOKIE_AGE > 30 * _A_DAY


@error(
    101,
    "cookies",
    "SESSION_SERIALIZER unpickles: who can write a session runs code on the server.",
    "Use 'django.contrib.sessions.serializers.JSONSerializer', Django's default.",
    controls=["ASVS-1.5.2"],
)
def sessions_are_pickled() -> bool:
    return "pickle" in settings.SESSION_SERIALIZER.lower()


@warning(
    107,
    "cookies",
    "SESSION_ENGINE keeps sessions in their cookie: none can be ended, and a copy outlives signing out.",
    "Use 'django.contrib.sessions.backends.db' or 'cached_db'.",
    controls=["ASVS-7.4.1"],
)
def sessions_cannot_be_ended() -> bool:
    return settings.SESSION_ENGINE.endswith("signed_cookies")


# --- HTTPS and headers -------------------------------------------------------------------------------


@warning(
    110,
    "headers",
    "SECURE_REFERRER_POLICY tells other sites the full address of pages.",
    "Use 'same-origin', Django's default.",
    controls=["ASVS-3.4.5", "DJ-security.W022"],
)
def referrer_is_told() -> bool:
    policy: Any = settings.SECURE_REFERRER_POLICY or ""
    policies = policy.split(",") if isinstance(policy, str) else policy
    return bool({"unsafe-url", "no-referrer-when-downgrade"}.intersection(one.strip() for one in policies))


@warning(
    111,
    "https",
    "SECURE_REDIRECT_EXEMPT leaves paths that are served in clear.",
    "Empty it; let a health check call over https.",
    controls=["ASVS-12.2.1", "DJ-security.W008"],
)
def paths_in_clear() -> bool:
    return bool(settings.SECURE_REDIRECT_EXEMPT)


@warning(
    112,
    "headers",
    "SECURE_CROSS_ORIGIN_OPENER_POLICY is off: a page that opened ours keeps a hold on its window.",
    "Use 'same-origin', Django's default.",
    controls=["DJ-security.E024"],
)
def opener_keeps_a_hold() -> bool:
    return settings.SECURE_CROSS_ORIGIN_OPENER_POLICY in {None, "", "unsafe-none"}


@warning(
    113,
    "proxy",
    "{} is on, but TRUSTED_PROXIES is 0: whoever reaches the site directly says under which name it answers.",
    "Turn it off, or name the proxies that set the header and strip it from callers.",
    controls=["ASVS-4.1.3"],
)
def anybody_names_the_host() -> str:
    names = ("USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
    return "" if conf.TRUSTED_PROXIES else listed(name for name in names if getattr(settings, name))


# --- hosts -------------------------------------------------------------------------------------------


@error(
    103,
    "hosts",
    "ALLOWED_HOSTS has '*': links in mails and redirects can be made to lead to any site.",
    "Name the hosts.",
    controls=["DJ-security.W020", "DJ-checklist-HOST"],
)
def any_host() -> bool:
    return "*" in settings.ALLOWED_HOSTS


# Where strangers can have a name below: the best known of https://publicsuffix.org, not all of them.
_PUBLIC = frozenset(
    """
    com net org io dev app info biz edu gov de fr nl uk us eu ch at it es se no fi dk pl cz ru jp cn in br au ca
    co.uk org.uk ac.uk com.au com.br co.jp co.in co.nz co.za herokuapp.com github.io gitlab.io pages.dev workers.dev
    netlify.app vercel.app web.app firebaseapp.com appspot.com run.app azurewebsites.net cloudfront.net amazonaws.com
    elasticbeanstalk.com fly.dev onrender.com ngrok.io ngrok.app ngrok-free.app pythonanywhere.com
    up.railway.app trycloudflare.com localhost local
    """.split()
)


@warning(
    115,
    "hosts",
    "ALLOWED_HOSTS has a wildcard below which strangers have names: {}.",
    "Name the hosts, or your own domain.",
    controls=["DJ-security.W020", "DJ-checklist-HOST"],
)
def hosts_of_strangers() -> str:
    wild = [host for host in settings.ALLOWED_HOSTS if host.startswith(".")]
    return listed(host for host in wild if host.strip(".").lower() in _PUBLIC or not host.strip("."))


# --- admin -------------------------------------------------------------------------------------------


@warning(
    120,
    "admin",
    "The admin answers at /admin/, where every scanner asks first.",
    "Mount it elsewhere. That hides nothing from who looks for it, but keeps noise out of limits and logs.",
    controls=["ASVS-8.4.2"],
)
def admin_where_everybody_looks() -> bool:
    try:
        return "admin" in resolve("/admin/").app_names
    except Resolver404:
        return False


@warning(
    121,
    "admin",
    "django.contrib.admindocs is installed: it describes models, views and their doc strings to all staff.",
    "Remove it from INSTALLED_APPS in production.",
    controls=["ASVS-15.2.3"],
)
def admin_describes_the_code() -> bool:
    return any(name.startswith("django.contrib.admindocs") for name in settings.INSTALLED_APPS)


@warning(
    130,
    "admin",
    "RemoteUserMiddleware is installed: who can send the header of its name is whoever they say.",
    "Remove it, or make sure that a proxy in front always sets the header, and that there is no way around it.",
    controls=["ASVS-4.1.3"],
)
def a_header_signs_in() -> bool:
    classes = [import_string(name) for name in settings.MIDDLEWARE]
    return any(isinstance(one, type) and issubclass(one, RemoteUserMiddleware) for one in classes)


@warning(
    131,
    "admin",
    "A backend of AUTHENTICATION_BACKENDS lets accounts in that are switched off: {}.",
    "Use 'django.contrib.auth.backends.ModelBackend'.",
    controls=["ASVS-6.3.4"],
)
def inactive_users_sign_in() -> str:
    return listed(name for name in settings.AUTHENTICATION_BACKENDS if name.rpartition(".")[2].startswith("AllowAll"))


# --- passwords ---------------------------------------------------------------------------------------


def _is_broken(name: str) -> bool:
    plain = name.rpartition(".")[2].lower()
    return plain.startswith(("md5", "sha1", "unsalted", "cryptpassword")) or "plain" in plain


def _first_hasher() -> hashers.BasePasswordHasher:
    return import_string(settings.PASSWORD_HASHERS[0])()  # type: ignore[no-any-return]  # a name, of whatever class


@error(
    105,
    "passwords",
    "PASSWORD_HASHERS begins with a hash that is guessed billions of times a second: {}.",
    "Put 'django.contrib.auth.hashers.Argon2PasswordHasher' first.",
    controls=["ASVS-11.4.1", "ASVS-11.4.2"],
)
def new_passwords_are_hashed_badly() -> str:
    return listed(name for name in settings.PASSWORD_HASHERS[:1] if _is_broken(name))


@warning(
    122,
    "passwords",
    "PASSWORD_HASHERS does not begin with Argon2: {}.",
    "Put 'django.contrib.auth.hashers.Argon2PasswordHasher' first; the others stay behind it, for old hashes.",
    controls=["ASVS-11.4.2", "CS-PasswordStorage-argon2id"],
)
def new_passwords_are_not_argon2() -> str:
    first = settings.PASSWORD_HASHERS[0]
    is_argon2 = isinstance(_first_hasher(), hashers.Argon2PasswordHasher)
    return "" if is_argon2 or _is_broken(first) else str(first)


@warning(
    123,
    "passwords",
    "PASSWORD_HASHERS still accepts hashes that a thief of the table opens at once: {}.",
    'Wrap the old hashes into Argon2 (Django\'s "Password upgrading without requiring a login"), then remove it.',
    controls=["ASVS-11.4.1", "CS-PasswordStorage-upgrade"],
)
def old_passwords_are_hashed_badly() -> str:
    return listed(name for name in settings.PASSWORD_HASHERS[1:] if _is_broken(name))


# KiB of memory and passes, at least one pair of which must be reached (ASVS 5.0 appendix C).
_ARGON2 = ((47104, 1), (19456, 2), (12288, 3))


@warning(
    124,
    "passwords",
    "Argon2 is too cheap: {}.",
    "At least 47104 KiB in 1 pass, 19456 in 2 or 12288 in 3. Django's default is 102400 in 2.",
    controls=["ASVS-11.4.2", "CS-PasswordStorage-argon2id"],
)
def argon2_is_cheap() -> str:
    first = _first_hasher()
    if not isinstance(first, hashers.Argon2PasswordHasher):
        return ""
    is_dear = any(first.memory_cost >= memory and first.time_cost >= passes for memory, passes in _ARGON2)
    return "" if is_dear else f"{first.memory_cost} KiB in {first.time_cost}"


@warning(
    125,
    "passwords",
    "BCryptPasswordHasher is among PASSWORD_HASHERS: it reads no more than 72 bytes of a password.",
    "Use BCryptSHA256PasswordHasher for old hashes of that kind.",
    controls=["ASVS-6.2.8"],
)
def bcrypt_cuts() -> bool:
    return any(name.endswith(".BCryptPasswordHasher") for name in settings.PASSWORD_HASHERS)


def _validators(wanted: type) -> list[dict[str, Any]]:
    """The options of the validators of this class."""
    entries: Any = settings.AUTH_PASSWORD_VALIDATORS
    return [one.get("OPTIONS", {}) for one in entries if issubclass(import_string(one["NAME"]), wanted)]


def _shortest() -> int:
    """The shortest password that the validators let pass; Django's own asks for eight characters by default."""
    return max((int(options.get("min_length", 8)) for options in _validators(MinimumLengthValidator)), default=0)


@error(
    106,
    "passwords",
    "AUTH_PASSWORD_VALIDATORS lets passwords of less than 8 characters pass.",
    "Add MinimumLengthValidator with a min_length of 12 or more.",
    controls=["ASVS-6.2.1"],
)
def passwords_are_short() -> bool:
    return _shortest() < 8


@warning(
    127,
    "passwords",
    "Passwords of less than 15 characters are enough, and OTP_POLICY 'never' asks for nothing beside them.",
    "Ask for 15 characters, or for a code (NIST SP 800-63B-4 §3.1.1.2).",
    controls=["ASVS-6.2.1"],
)
def passwords_stand_alone() -> bool:
    return conf.OTP_POLICY == "never" and 8 <= _shortest() < 15


@warning(
    128,
    "passwords",
    "AUTH_PASSWORD_VALIDATORS refuses no common passwords.",
    "Add 'django.contrib.auth.password_validation.CommonPasswordValidator'.",
    controls=["ASVS-6.2.4"],
)
def common_passwords_pass() -> bool:
    return not _validators(CommonPasswordValidator)


@warning(
    132,
    "passwords",
    "PASSWORD_RESET_TIMEOUT is more than a day, and Django's reset view is mounted.",
    "Set it to 1800 (seconds): a link in a mailbox is a key to the account.",
    controls=["ASVS-6.5.5"],
)
def reset_links_live_long() -> bool:
    mounted = any(isinstance(view, type) and issubclass(view, PasswordResetConfirmView) for _, view in view_classes())
    return mounted and settings.PASSWORD_RESET_TIMEOUT > _A_DAY


# --- bodies and files --------------------------------------------------------------------------------

_MUCH = 50 * 1024 * 1024
_MANY = 10_000


@warning(
    147,
    "files",
    "DATA_UPLOAD_MAX_MEMORY_SIZE is None or more than 50 MiB: a few requests at once fill the memory.",
    "Leave it at Django's 2.5 MiB, and raise it for the views that need it.",
    controls=["ASVS-5.2.1"],
)
def bodies_are_unbounded() -> bool:
    limit: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit is None or limit > _MUCH


@warning(
    148,
    "files",
    "A request may have any number of parts, or more than 10,000: {}.",
    "Leave it at Django's default; parsing costs time for each.",
    controls=["ASVS-5.2.1"],
)
def parts_are_uncounted() -> str:
    names = ("DATA_UPLOAD_MAX_NUMBER_FIELDS", "DATA_UPLOAD_MAX_NUMBER_FILES")
    return listed(name for name in names if getattr(settings, name) is None or getattr(settings, name) > _MANY)


@error(
    107,
    "files",
    "Uploaded files or folders can be written by every user of the machine: {}.",
    "Use 0o640 for files and 0o750 for folders.",
    controls=["ASVS-13.2.3"],
)
def anybody_writes_uploads() -> str:
    names = ("FILE_UPLOAD_PERMISSIONS", "FILE_UPLOAD_DIRECTORY_PERMISSIONS")
    return listed(name for name in names if (getattr(settings, name) or 0) & 0o002)


@warning(
    151,
    "files",
    "Django serves files at {}: slow, and whatever people uploaded comes from your own origin.",
    "Let the web server or a bucket on another host serve them.",
    controls=["ASVS-3.2.1"],
)
def django_serves_files() -> str:
    return listed(path for path, view in view_classes() if getattr(view, "__module__", "") == "django.views.static")


def _contains(outer: Path, inner: Path) -> bool:
    return inner == outer or outer in inner.parents


@error(
    108,
    "files",
    "MEDIA_ROOT and STATIC_ROOT lie in one another: an upload can replace the site's own scripts.",
    "Give each a folder of its own.",
    controls=["ASVS-3.2.1"],
)
def uploads_lie_among_scripts() -> bool:
    if not settings.MEDIA_ROOT or not settings.STATIC_ROOT:
        return False
    media, static = (Path(str(root)).resolve() for root in (settings.MEDIA_ROOT, settings.STATIC_ROOT))
    return _contains(media, static) or _contains(static, media)
