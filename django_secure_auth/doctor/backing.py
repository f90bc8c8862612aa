"""Rows of the checklist about what stands behind the site: database, caches, broker, mail, logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from celery import current_app
from django.conf import settings
from django.utils.module_loading import import_string
from django.views.debug import SafeExceptionReporterFilter

from django_secure_auth.conf import conf
from django_secure_auth.doctor.policy import error, listed, warning
from django_secure_auth.kit.json_log import LOGGER_NAME

# Names that lead nowhere outside of a private network: of containers, clusters and clouds.
_INSIDE = (".internal", ".local", ".localhost", ".svc", ".lan", ".intranet")


def is_elsewhere(host: str | None) -> bool:
    """Whether this is another machine: no socket, no loopback address."""
    if not host or host.startswith("/") or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def leaves_the_network(host: str | None) -> bool:
    """Whether the way there may lead over networks of others: no private address, no name of the inside."""
    if not is_elsewhere(host) or host is None:
        return False
    try:
        return not ip_address(host).is_private
    except ValueError:
        return "." in host and not host.endswith(_INSIDE)


# --- database ----------------------------------------------------------------------------------------


def _databases(*kinds: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for alias, database in settings.DATABASES.items():
        if any(kind in str(database.get("ENGINE", "")) for kind in kinds):
            yield alias, database


def _speaks_tls(database: Mapping[str, Any]) -> bool:
    options = database.get("OPTIONS") or {}
    if "postg" in database["ENGINE"]:
        return options.get("sslmode") in {"require", "verify-ca", "verify-full"} or "service" in options
    mode = str(options.get("ssl_mode") or "")
    return bool(options.get("ssl")) or mode.startswith(("REQUIRED", "VERIFY"))


@warning(
    160,
    "database",
    "The way to the database may be in clear: {}.",
    "PostgreSQL: OPTIONS = {'sslmode': 'verify-full'}; MariaDB and MySQL: OPTIONS = {'ssl': {'ca': …}}.",
    controls=["ASVS-12.3.1"],
)
def database_in_clear() -> str:
    servers = _databases("postg", "mysql")
    return listed(alias for alias, one in servers if leaves_the_network(one.get("HOST")) and not _speaks_tls(one))


@warning(
    161,
    "database",
    "The database is SQLite: one writer at a time, on one machine, in a file without accounts: {}.",
    "Use PostgreSQL or MariaDB; silence this for a site that is small on purpose.",
    controls=["ASVS-15.2.2"],
)
def database_is_a_file() -> str:
    return listed(alias for alias, _ in _databases("sqlite3", "spatialite"))


@warning(
    162,
    "database",
    "The site connects as the owner of the whole server: {}.",
    "Make a user that owns this one database.",
    controls=["ASVS-13.2.3"],
)
def database_user_is_almighty() -> str:
    servers = _databases("postg", "mysql", "oracle")
    return listed(alias for alias, one in servers if one.get("USER") in {"postgres", "root", "mysql", "sys", "system"})


@warning(
    163,
    "database",
    "A database on another machine asks for no password, or for a guessable one: {}.",
    "Give its user a long random password, or a client certificate (OPTIONS['sslcert']).",
    controls=["ASVS-13.2.3"],
)
def database_is_open() -> str:
    return listed(alias for alias, one in _databases("postg", "mysql", "oracle") if _is_open_database(one))


def _is_open_database(database: Mapping[str, Any]) -> bool:
    options = database.get("OPTIONS") or {}
    if not is_elsewhere(database.get("HOST")) or {"sslcert", "passfile", "service", "ssl"} & options.keys():
        return False
    return _is_guessable(database.get("PASSWORD"), database.get("USER"), database.get("NAME"))


# Passwords of installation guides.
_WELL_KNOWN = frozenset("admin changeme default guest mysql password postgres rabbitmq redis root secret test".split())


def _is_guessable(password: Any, *names: Any) -> bool:
    told = str(password or "")
    return not told or told.lower() in _WELL_KNOWN or told in map(str, names)


# --- caches ------------------------------------------------------------------------------------------


def _caches(*kinds: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for alias, cache in settings.CACHES.items():
        if any(kind in str(cache.get("BACKEND", "")).lower() for kind in kinds):
            yield alias, cache


def _addresses(cache: Mapping[str, Any]) -> list[str]:
    location = cache.get("LOCATION") or ""
    return re.split(r"[;,]\s*", location) if isinstance(location, str) else [str(one) for one in location]


def locations() -> Iterator[tuple[str, SplitResult]]:
    """Yield alias and address of every Redis server that CACHES names; django-redis has a PASSWORD of its own."""
    for alias, cache in _caches("redis", "valkey"):
        password = (cache.get("OPTIONS") or {}).get("PASSWORD") or (cache.get("OPTIONS") or {}).get("password")
        for address in _addresses(cache):
            url = urlsplit(address)
            yield alias, urlsplit(f"{url.scheme}://:{password}@{url.netloc}") if password and not url.password else url


def workers() -> int:
    """How many processes serve, as far as the environment says: WEB_CONCURRENCY, or `--workers` for gunicorn."""
    told = re.search(r"(?:--workers|-w)[ =]?(\d+)", os.environ.get("GUNICORN_CMD_ARGS", ""))
    number = told[1] if told else os.environ.get("WEB_CONCURRENCY", "1")
    return int(number) if number.isdecimal() else 1


@warning(
    153,
    "caches",
    "Several processes serve, and each has a local-memory cache of its own: {}. What one forgets, another still knows.",
    "Use a shared cache, such as Redis.",
    controls=["DJ-checklist-CACHES"],
)
def memory_of_each() -> str:
    return listed(alias for alias, _ in _caches("locmem")) if workers() > 1 else ""


@warning(
    154,
    "caches",
    "A Redis cache on another machine asks for no password, or for a guessable one: {}. Django unpickles what it reads "
    "there: who can write to it runs code.",
    "Set one (`requirepass`, or a user with ACLs), and put it into LOCATION.",
    controls=["DJ-checklist-CACHES", "ASVS-13.2.3"],
)
def cache_is_open() -> str:
    return listed(alias for alias, url in locations() if is_elsewhere(url.hostname) and _is_guessable(url.password))


@warning(
    155,
    "caches",
    "The way to a Redis cache may be in clear, its password and what is unpickled too: {}.",
    "Use rediss:// and a server with a certificate.",
    controls=["ASVS-12.3.1"],
)
def cache_in_clear() -> str:
    return listed(
        alias
        for alias, url in locations()
        if url.scheme not in {"rediss", "valkeys"} and leaves_the_network(url.hostname)
    )


@warning(
    156,
    "caches",
    "Two aliases keep their keys in one place under one prefix: {}. What one clears, the other loses.",
    "Give each a KEY_PREFIX or a database of its own.",
    controls=["DJ-checklist-CACHES"],
)
def caches_mix() -> str:
    seen: dict[tuple[str, ...], list[str]] = {}
    for alias, cache in _caches("redis", "valkey", "memcached", "locmem", "filebased", "db."):
        if "KEY_FUNCTION" not in cache:
            place = (
                cache["BACKEND"],
                *_addresses(cache),
                str(cache.get("KEY_PREFIX") or ""),
                str(cache.get("VERSION", 1)),
            )
            seen.setdefault(place, []).append(alias)
    return listed(" and ".join(sorted(aliases)) for aliases in seen.values() if len(aliases) > 1)


@warning(
    157,
    "caches",
    "Django's sessions lie in a cache that no other process sees, or that keeps nothing: {}.",
    "Use 'django.contrib.sessions.backends.cached_db', or a shared cache.",
    controls=["DJ-checklist-CACHES"],
)
def sessions_in_memory() -> str:
    if not settings.SESSION_ENGINE.endswith("backends.cache"):
        return ""
    return listed(alias for alias, _ in _caches("locmem", "dummy") if alias == settings.SESSION_CACHE_ALIAS)


@warning(
    158,
    "caches",
    "A file cache lies where every user of the machine can write: {}. Django unpickles what it reads there.",
    "Give it a folder that the site's user owns.",
    controls=["ASVS-13.2.3", "ASVS-1.5.2"],
)
def cache_of_everybody() -> str:
    shared = ("/tmp/", "/var/tmp/", "/dev/shm/")  # nosec B108  # noqa: S108  # named to be refused
    files = _caches("filebased")
    return listed(alias for alias, one in files if any(f"{path}/".startswith(shared) for path in _addresses(one)))


@warning(
    159,
    "caches",
    "Memcached on another machine: {}. It knows no password, and Django unpickles what it reads there.",
    "Keep it behind a firewall that lets the site's machines in and nobody else, and silence this; or use Redis.",
    controls=["DJ-checklist-CACHES", "ASVS-12.3.1"],
)
def cache_without_password() -> str:
    servers = _caches("memcached")
    return listed(
        alias for alias, one in servers if any(leaves_the_network(server.split(":")[0]) for server in _addresses(one))
    )


# --- broker ------------------------------------------------------------------------------------------


def _addresses_in(told: Any) -> list[str]:
    """Celery takes one address, several with semicolons between them, or a list of such."""
    return [part for one in ([told] if isinstance(told, str) else told or ()) for part in one.split(";")]


def brokers() -> list[SplitResult]:
    """The servers of the current Celery app: of tasks, and of results."""
    told = (current_app.conf.broker_url, current_app.conf.broker_write_url, current_app.conf.result_backend)
    return [urlsplit(address) for value in told for address in _addresses_in(value)]


@error(
    109,
    "broker",
    "Celery accepts {}: who can write to the broker runs code in the workers.",
    "Set accept_content, result_accept_content and the serializers to JSON.",
    controls=["ASVS-1.5.2"],
)
def celery_unpickles() -> str:
    told = current_app.conf
    accepted = {*(told.accept_content or ()), *(told.result_accept_content or ())}
    accepted |= {told.task_serializer, told.result_serializer, told.event_serializer}
    return listed(
        name
        for name in map(str, accepted)
        if name.rpartition("-")[2] in {"pickle", "application/x-python-serialize"} or "pickle" in name
    )


@error(
    110,
    "broker",
    "The broker on another machine knows the site as guest, with a password that everybody knows.",
    "Make a user for this site, and remove guest.",
    controls=["ASVS-13.2.3"],
)
def broker_has_a_guest() -> bool:
    return any(is_elsewhere(url.hostname) and url.username == "guest" and url.password == "guest" for url in brokers())  # noqa: S105  # the one that is refused


@warning(
    165,
    "broker",
    "A broker or store of results on another machine asks for no password, or for a guessable one.",
    "Set one: who can write to the broker gives the workers their tasks.",
    controls=["ASVS-13.2.3"],
)
def broker_is_open() -> bool:
    servers = [url for url in brokers() if is_elsewhere(url.hostname) and url.username != "guest"]
    return any(_is_guessable(url.password, url.username or "?") for url in servers)


_TLS = ("rediss", "valkeys", "amqps", "https", "sqs")


@warning(
    166,
    "broker",
    "The way to the broker, or to the store of results, may be in clear.",
    "Use rediss:// or amqps://, or set broker_use_ssl.",
    controls=["ASVS-12.3.1"],
)
def broker_in_clear() -> bool:
    servers = [url for url in brokers() if leaves_the_network(url.hostname)]
    return any(url.scheme not in _TLS for url in servers) and not current_app.conf.broker_use_ssl


@warning(
    167,
    "broker",
    "Celery stores the arguments of tasks beside their results (result_extended).",
    "Turn it off, or see that no task ever has a secret or an address among its arguments.",
    controls=["ASVS-14.2.4"],
)
def results_keep_arguments() -> bool:
    return bool(current_app.conf.result_extended and current_app.conf.result_backend)


# --- mail --------------------------------------------------------------------------------------------

_OPTIONS = {
    "EMAIL_HOST": "host",
    "EMAIL_HOST_PASSWORD": "password",
    "EMAIL_USE_TLS": "use_tls",
    "EMAIL_USE_SSL": "use_ssl",
    "EMAIL_TIMEOUT": "timeout",
}


def mailers() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield backend and options of each way that mail leaves by: MAILERS since Django 6.1, EMAIL_… before."""
    if getattr(settings, "MAILERS", None):
        for mailer in settings.MAILERS.values():
            yield str(mailer.get("BACKEND", "")), mailer.get("OPTIONS") or {}
    else:
        yield settings.EMAIL_BACKEND, {plain: getattr(settings, name) for name, plain in _OPTIONS.items()}


def _smtp() -> list[Mapping[str, Any]]:
    return [options for backend, options in mailers() if backend.endswith("smtp.EmailBackend")]


@warning(
    169,
    "mail",
    "Mail goes nowhere: {}. Nobody gets a code.",
    "Use 'django.core.mail.backends.smtp.EmailBackend', or your provider's.",
    controls=["DJ-checklist-EMAIL"],
)
def mail_goes_nowhere() -> str:
    return listed(
        name
        for name, _ in mailers()
        if name.split(".")[-2:-1] and name.split(".")[-2] in {"console", "locmem", "dummy", "filebased"}
    )


@warning(
    170,
    "mail",
    "Mail travels to another machine in clear, and codes with it.",
    "Set EMAIL_USE_TLS or EMAIL_USE_SSL (MAILERS: use_tls or use_ssl).",
    controls=["DJ-checklist-EMAIL", "ASVS-12.3.1"],
)
def mail_in_clear() -> bool:
    return any(
        is_elsewhere(options.get("host")) and not options.get("use_tls") and not options.get("use_ssl")
        for options in _smtp()
    )


@warning(
    171,
    "mail",
    "Mail comes from an address at localhost: {}. Receivers drop it or call it spam.",
    "Set it to an address of your domain, with SPF, DKIM and DMARC.",
    controls=["DJ-checklist-EMAIL"],
)
def mail_from_nowhere() -> str:
    names = ["DEFAULT_FROM_EMAIL", *(["SERVER_EMAIL"] if settings.ADMINS else [])]
    found = [name for name in names if str(getattr(settings, name)).rstrip(">").endswith("@localhost")]
    return "" if conf.MAIL_FROM and found == ["DEFAULT_FROM_EMAIL"] else listed(found)


@warning(
    172,
    "mail",
    "Mail has no time-out: a mail server that hangs holds a worker for ever.",
    "Set EMAIL_TIMEOUT = 10 (MAILERS: timeout).",
    controls=["DJ-checklist-EMAIL", "ASVS-16.5.2"],
)
def mail_waits_for_ever() -> bool:
    return any(not options.get("timeout") for options in _smtp())


# --- logs --------------------------------------------------------------------------------------------


def _logging() -> Mapping[str, Any]:
    return settings.LOGGING or {}


def _has_handlers(name: str) -> bool:
    """Whether what this logger is told reaches a handler of LOGGING, its own or one further up."""
    loggers = {"": _logging().get("root", {}), **_logging().get("loggers", {})}
    while True:
        logger = loggers.get(name, {})
        if logger.get("handlers"):
            return True
        if not name or logger.get("propagate", True) is False:
            return False
        name = name.rpartition(".")[0]


@warning(
    174,
    "logs",
    "LOGGING gives security events no handler: nobody sees an attack.",
    "LOGGING = logging_preset() (django_secure_auth.kit.json_log), or a handler for 'django_secure_auth.security'.",
    controls=["DJ-checklist-LOGGING", "ASVS-16.2.3"],
)
def nobody_hears() -> bool:
    is_dict = settings.LOGGING_CONFIG is not None  # None: a project that configures logging by itself
    return is_dict and not _has_handlers(LOGGER_NAME)


@warning(
    175,
    "logs",
    "LOGGING writes everything, SQL with its values too: {}.",
    "Use INFO or above in production.",
    controls=["ASVS-16.2.5", "ASVS-13.4.2"],
)
def logs_are_talkative() -> str:
    loggers = {"root": _logging().get("root", {}), **_logging().get("loggers", {})}
    talkative = ("root", "", "django", "django.db", "django.db.backends", "django.template")
    return listed(name or "root" for name in talkative if str(loggers.get(name, {}).get("level")).upper() == "DEBUG")


@warning(
    176,
    "logs",
    "AdminEmailHandler sends whole error pages (include_html): mailboxes get requests, settings and variables.",
    "Remove include_html, or use an error reporter that is told what to leave out.",
    controls=["ASVS-14.2.3"],
)
def mailboxes_get_tracebacks() -> bool:
    handlers = _logging().get("handlers", {}).values()
    return any(one.get("include_html") and str(one.get("class", "")).endswith("AdminEmailHandler") for one in handlers)


@warning(
    177,
    "logs",
    "DEFAULT_EXCEPTION_REPORTER_FILTER hides nothing: {}.",
    "Use a subclass of django.views.debug.SafeExceptionReporterFilter.",
    controls=["ASVS-14.2.3", "ASVS-16.2.5"],
)
def reports_hide_nothing() -> str:
    name = settings.DEFAULT_EXCEPTION_REPORTER_FILTER
    return "" if issubclass(import_string(name), SafeExceptionReporterFilter) else str(name)
