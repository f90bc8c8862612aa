"""Our endpoints, credentials and refusals in OpenAPI, with drf-spectacular (the extra `openapi`).

The app loads it when `drf_spectacular` is in INSTALLED_APPS; nothing else imports it, and the package works without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings as django_settings
from django.middleware.csrf import CSRF_TOKEN_LENGTH
from drf_spectacular import openapi as spectacular
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiFilterExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
    OpenApiViewExtension,
)
from drf_spectacular.plumbing import ResolvedComponent, get_class
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated
from rest_framework.views import APIView

from django_secure_auth import exceptions
from django_secure_auth.accounts import serializers as bodies
from django_secure_auth.accounts import views as accounts
from django_secure_auth.apikeys import policy as key_policy
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.apikeys.serializers import APIKeySerializer, MomentField, TextListField
from django_secure_auth.conf import conf
from django_secure_auth.decorators import LIMITS
from django_secure_auth.decorators import MARK as REQUIRES
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.kit.cookies import cookie_name
from django_secure_auth.me import views as me
from django_secure_auth.problems import MEDIA_TYPE, answer_exception, exception_handler
from django_secure_auth.rbac.permissions import RecentlyAuthenticated
from django_secure_auth.strict.backends import SafeOrderingFilter
from django_secure_auth.strict.fields import MAX_PASSWORD_POINTS, PasswordField
from django_secure_auth.strict.serializers import StrictSerializer
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from django_secure_auth.tokens.views import JWKSView

Schema = dict[str, Any]
Refusal = type[SecureAuthError]
Body = type[serializers.Serializer[Any]]

_PACKAGE = "django_secure_auth"
_OUR_HANDLERS = (exception_handler, answer_exception)


# --- credentials -------------------------------------------------------------------------------------


def _csrf_header() -> str:
    name = django_settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title()
    return name.replace("Csrftoken", "CSRFToken").replace("Csrf", "CSRF")


def _cookie(kind: str, description: str) -> Schema:
    name = cookie_name(conf.COOKIE_PREFIX, kind, secure=conf.COOKIE_SECURE)
    return {"type": "apiKey", "in": "cookie", "name": name, "description": description}


def security_schemes() -> dict[str, Schema]:
    """Return the credentials of a session as security schemes (OpenAPI 3.0.3 §4.8.27), by name."""
    return {
        "accessCookie": _cookie("access", "Access token of five minutes, HttpOnly: a browser sends it by itself."),
        "refreshCookie": _cookie("refresh", "Refresh token, HttpOnly; sent to these endpoints only."),
        "challengeCookie": _cookie("challenge", "Binds an e-mailed code to the browser that asked for it. HttpOnly."),
        "csrfToken": {
            "type": "apiKey",
            "in": "header",
            "name": _csrf_header(),
            "description": "The token of `GET csrf/`, with the CSRF cookie that came along. Asked for with every write "
            "that a cookie proves, and with the endpoints of signing in.",
        },
        "bearerToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token in `Authorization`; needs no CSRF token. It alone decides, whatever "
            "cookies come along.",
        },
    }


_CSRF = {"csrfToken": list[str]()}
_BEARER = {"bearerToken": list[str]()}


class _CookieOrBearer(OpenApiAuthenticationExtension):
    target_class = JWTCookieAuthentication
    match_subclasses = True
    name = ["accessCookie", "csrfToken", "bearerToken"]

    def get_security_requirement(self, auto_schema: spectacular.AutoSchema) -> list[dict[str, list[Any]]]:
        is_safe = auto_schema.method in SAFE_METHODS
        return [{"accessCookie": []} if is_safe else {"accessCookie": [], **_CSRF}, _BEARER]

    def get_security_definition(self, auto_schema: spectacular.AutoSchema) -> list[Schema]:
        return [security_schemes()[name] for name in self.name]


class _KeyInHeader(OpenApiAuthenticationExtension):
    target_class = APIKeyAuthentication
    match_subclasses = True
    name = "apiKey"

    def get_security_definition(self, auto_schema: spectacular.AutoSchema) -> Schema:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "For programs. In this header only; it alone decides, whatever cookies come along.",
        }


# --- bodies ------------------------------------------------------------------------------------------


class _ClosedObject(OpenApiSerializerExtension):
    """A serializer that refuses unknown fields says so; ours have names that no schema of a project has."""

    target_class = StrictSerializer
    match_subclasses = True

    def get_name(self, auto_schema: spectacular.AutoSchema, direction: str) -> str | None:
        return f"SecureAuth{get_class(self.target).__name__}" if self._is_ours else None

    @property
    def _is_ours(self) -> bool:
        return get_class(self.target).__module__.startswith(f"{_PACKAGE}.")

    def get_identity(self, auto_schema: spectacular.AutoSchema, direction: str) -> Any:
        # Two of ours of one name are one: that of a profile is made anew each time.
        return self.get_name(auto_schema, direction)

    def map_serializer(self, auto_schema: spectacular.AutoSchema, direction: Any) -> Schema:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        found = get_class(self.target)
        if found.__doc__ is None or (self._is_ours and found.__module__ != __name__):
            schema.pop("description", None)  # inherited, or written for who reads the code
        return {**schema, "additionalProperties": False}


class _Password(OpenApiSerializerFieldExtension):
    target_class = PasswordField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: spectacular.AutoSchema, direction: Any) -> Schema:
        return {"type": "string", "format": "password", "maxLength": MAX_PASSWORD_POINTS}


class _Code(OpenApiSerializerFieldExtension):
    target_class = bodies.CodeField

    def map_serializer_field(self, auto_schema: spectacular.AutoSchema, direction: Any) -> Schema:
        return {"type": "string", "pattern": f"^[0-9]{{{conf.OTP_LENGTH}}}$"}


class _Moment(OpenApiSerializerFieldExtension):
    target_class = MomentField

    def map_serializer_field(self, auto_schema: spectacular.AutoSchema, direction: Any) -> Schema:
        return {"type": "string", "format": "date-time"}


class _Texts(OpenApiSerializerFieldExtension):
    target_class = TextListField

    def map_serializer_field(self, auto_schema: spectacular.AutoSchema, direction: Any) -> Schema:
        entry = {"type": "string", "maxLength": key_policy.MAX_ENTRY}
        return {"type": "array", "items": entry, "maxItems": key_policy.MAX_ENTRIES}


class _Ordering(OpenApiFilterExtension):
    target_class = SafeOrderingFilter
    match_subclasses = True

    def get_schema_operation_parameters(self, auto_schema: spectacular.AutoSchema, *args: Any) -> list[Schema]:
        names = "|".join(name for name, _ in self.target.get_valid_fields(None, auto_schema.view))
        parameters: list[Schema] = self.target.get_schema_operation_parameters(auto_schema.view)
        pattern = f"^(-?({names})(,-?({names}))*)?$"
        described = {"description": "Columns, each once; `-` before one turns it round."}
        return [{**one, **described, "schema": {"type": "string", "pattern": pattern}} for one in parameters]


def _one_of(*values: str, **kwargs: Any) -> serializers.RegexField:
    """A fixed value. A choice would become an enum, of a name that a project's own fields want, such as `status`."""
    return serializers.RegexField(f"^({'|'.join(values)})$", **kwargs)


class CSRFToken(StrictSerializer):
    csrf_token = serializers.CharField(min_length=CSRF_TOKEN_LENGTH, max_length=CSRF_TOKEN_LENGTH)


class User(StrictSerializer):
    id = serializers.CharField()
    email = serializers.CharField(allow_blank=True)
    roles = serializers.ListField(child=serializers.CharField())


class Session(StrictSerializer):
    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    idle_expires_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    remember_me = serializers.BooleanField()
    amr = serializers.ListField(child=serializers.CharField(), help_text="Authentication methods (RFC 8176).")


class SessionRow(Session):
    last_seen_at = serializers.DateTimeField()
    device = serializers.CharField(allow_blank=True)
    ip_address = serializers.CharField(allow_null=True)
    place = serializers.CharField(allow_null=True, help_text="Town and country, where a GeoIP file knows them.")
    impersonated = serializers.BooleanField(help_text="Opened by somebody of the staff in the user's name.")
    current = serializers.BooleanField()


class SessionPage(StrictSerializer):
    results = SessionRow(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class SignedIn(StrictSerializer):
    status = _one_of("authenticated")
    user = User()
    session = Session()
    access_expires_at = serializers.DateTimeField()


class SignedInWithTokens(SignedIn):
    access_token = serializers.CharField(required=False)
    refresh_token = serializers.CharField(required=False)
    token_type = _one_of("Bearer", required=False)
    device_token = serializers.CharField(required=False)


class Challenge(StrictSerializer):
    id = serializers.UUIDField()
    purpose = serializers.CharField()
    sent_to = serializers.CharField(help_text="The address, redacted.")
    expires_at = serializers.DateTimeField()
    resend_at = serializers.DateTimeField()
    attempts_left = serializers.IntegerField(min_value=0)


class CodeRequired(StrictSerializer):
    status = _one_of("otp_required")
    challenge = Challenge()


class CodeRequiredWithToken(CodeRequired):
    challenge_token = serializers.CharField(required=False)


class ActivityRow(StrictSerializer):
    at = serializers.DateTimeField()
    event = serializers.CharField(help_text="A stable name.")
    message = serializers.CharField()
    session = serializers.CharField(allow_null=True)
    device = serializers.CharField(allow_null=True)
    ip_address = serializers.CharField(allow_null=True)
    place = serializers.CharField(allow_null=True, help_text="Town and country, where a GeoIP file knows them.")
    by_somebody_else = serializers.BooleanField(help_text="An administrator, or a program of theirs.")


class ActivityPage(StrictSerializer):
    results = ActivityRow(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class DeviceRow(StrictSerializer):
    id = serializers.UUIDField()
    device = serializers.CharField()
    ip_address = serializers.CharField(allow_null=True)
    place = serializers.CharField(allow_null=True, help_text="Town and country, where a GeoIP file knows them.")
    trusted = serializers.BooleanField(help_text="A code was approved there.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    current = serializers.BooleanField()


class DevicePage(StrictSerializer):
    results = DeviceRow(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class Accepted(StrictSerializer):
    status = _one_of("accepted")


class Key(StrictSerializer):
    id = serializers.UUIDField()
    public_id = serializers.CharField(help_text="Names the key in lists and in the trail; no secret.")
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_networks = serializers.ListField(child=serializers.CharField(), help_text="Empty: from everywhere.")
    rate_limit = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    retires_at = serializers.DateTimeField(allow_null=True, help_text="When its successor is alone.")
    replaces = serializers.UUIDField(allow_null=True)


class NewKey(Key):
    key = serializers.CharField(help_text="The key itself: shown here, once.")


class KeyPage(StrictSerializer):
    results = Key(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class AccountExport(StrictSerializer):
    exported_at = serializers.DateTimeField()
    account = serializers.DictField()
    sessions = SessionRow(many=True)
    devices = DeviceRow(many=True)
    api_keys = Key(many=True)
    activity = ActivityRow(many=True)
    more = serializers.JSONField(required=False, help_text="What the project adds with `ACCOUNT_EXPORT`.")


class PublicKey(StrictSerializer):
    """RFC 7517; which members a key has depends on its `kty`."""

    kty = _one_of("RSA", "EC", "OKP")
    kid = serializers.CharField()
    alg = serializers.CharField()
    use = _one_of("sig")
    crv = serializers.CharField(required=False)
    x = serializers.CharField(required=False)
    y = serializers.CharField(required=False)
    n = serializers.CharField(required=False)
    e = serializers.CharField(required=False)


class PublicKeys(StrictSerializer):
    keys = PublicKey(many=True)


def _me() -> Body:
    """The user, with the fields of `PROFILE_FIELDS` as the user model has them."""
    profile = bodies.profile_serializer()
    names = bodies.profile_fields()
    return type("Me", (User,), {**{name: profile().fields[name] for name in names}, "__module__": __name__})


# --- refusals ----------------------------------------------------------------------------------------


class _NotAcceptable(SecureAuthError):
    """DRF's own, in our shape."""

    status_code = 406
    code = "not_acceptable"
    title = "Not Acceptable"
    default_detail = "Could not satisfy the request Accept header."


_BAD_BODY: tuple[Refusal, ...] = (
    exceptions.MalformedRequest,
    exceptions.InvalidInput,
    exceptions.TooLarge,
    exceptions.UnsupportedMediaType,
)
_BAD_SESSION: tuple[Refusal, ...] = (
    exceptions.TokenInvalid,
    exceptions.TokenExpired,
    exceptions.SessionInactive,
    exceptions.SessionRevoked,
)
# What a permission may say by its `code`; see `problems`.
_BY_CODE: dict[str, Refusal] = {
    one.code: one for one in (exceptions.StepUpRequired, exceptions.ImpersonationRefused, exceptions.NotFound)
}
_PAGING = {"page", "page_size", "limit", "offset", "cursor"}

PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. Branch on `code`, which is stable; `title` and `detail` are for people. Further members "
    "may come: ignore those that you do not know (§3.2).",
    "properties": {
        "type": {"type": "string", "format": "uri", "example": "urn:django-secure-auth:problem:not_found"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "As in the log and the trail."},
        "errors": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "array", "items": {}}, {"type": "object"}]},
            "description": "What is wrong, by field.",
        },
        "attempts_left": {"type": "integer", "minimum": 0, "description": "With `otp_invalid`."},
        "accepts": {
            "type": "array",
            "items": {"type": "string"},
            "description": "With `step_up_required`: what `reauthenticate/` takes for a proof.",
        },
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
_HEADERS: dict[int, dict[str, Schema]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {
        "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."},
        "RateLimit-Policy": {"schema": {"type": "string"}},
        "RateLimit": {"schema": {"type": "string"}},
    },
}
_MEMBERS: dict[Refusal, Schema] = {
    exceptions.InvalidInput: {"errors": {"title": ["This field is required."]}},
    exceptions.OTPInvalid: {"attempts_left": 4},
    exceptions.StepUpRequired: {"accepts": ["password"]},
    exceptions.PasswordRejected: {"errors": {"new_password": ["This password is too common."]}},
    exceptions.PolicyRejected: {"errors": {"email": ["This account has no e-mail address for a code."]}},
}


def _example(refusal: Refusal) -> Schema:
    document = {
        "type": f"urn:django-secure-auth:problem:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status_code,
        "detail": str(refusal.default_detail),
        "code": refusal.code,
        **_MEMBERS.get(refusal, {}),
        "request_id": "4f1c2a9be07d4d0f9a53c6f1e8b7d203",
    }
    return {"value": document}


def _leaves(permission: Any) -> Iterator[Any]:
    """The permissions of which one that is composed with `& | ~` consists."""
    operands = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
    if not operands:
        yield permission
    for operand in operands:
        yield from _leaves(operand)


def _refusals_of_permissions(permissions: Iterable[Any]) -> Iterator[Refusal]:
    for permission in permissions:
        for leaf in _leaves(permission):
            if not isinstance(leaf, (AllowAny, IsAuthenticated)):
                yield _BY_CODE.get(getattr(leaf, "code", ""), exceptions.Forbidden)
            if isinstance(leaf, RecentlyAuthenticated):  # which nobody proves for somebody else
                yield exceptions.ImpersonationRefused


class AutoSchema(spectacular.AutoSchema):
    """drf-spectacular's, and each operation with the problem documents that it answers. For `DEFAULT_SCHEMA_CLASS`.

    They follow from what the view declares: body, authentication, CSRF, permissions, throttles, path and paging. What
    only its code knows, a view tells by method or action: `secure_auth_refusals = {"post": [PolicyRejected]}`. What
    `@extend_schema(responses=…)` says about a status stays. A view with another exception handler is left alone.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        schemes = security_schemes()
        for name in {name for requirement in operation.get("security", ()) for name in requirement} & schemes.keys():
            # The object is what drf-spectacular itself names for these.
            self._register(name, ResolvedComponent.SECURITY_SCHEMA, schemes[name], of=JWTCookieAuthentication)
        if self.view.get_exception_handler() in _OUR_HANDLERS:
            responses = {**self._problems(operation), **operation["responses"]}
            operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _problems(self, operation: Schema) -> dict[str, Schema]:
        by_status: dict[int, list[Refusal]] = {}
        for refusal in dict.fromkeys(self._refusals(operation)):
            by_status.setdefault(refusal.status_code, []).append(refusal)
        return {str(status): self._problem(status, refusals) for status, refusals in by_status.items()}

    def _refusals(self, operation: Schema) -> Iterator[Refusal]:
        view: Any = self.view
        is_safe = self.method in SAFE_METHODS
        parameters = operation.get("parameters", ())
        query = {one["name"] for one in parameters if one["in"] == "query"}
        authenticators = view.get_authenticators()
        yield _NotAcceptable
        if "requestBody" in operation:
            yield from _BAD_BODY
        elif query - _PAGING:
            yield exceptions.InvalidInput
        if authenticators:
            # DRF answers 403 where the first class names no challenge.
            has_challenge = authenticators[0].authenticate_header(view.request)
            yield exceptions.Unauthenticated if has_challenge else exceptions.Forbidden
        if any(isinstance(one, JWTCookieAuthentication) for one in authenticators):
            yield from _BAD_SESSION
        if isinstance(view, accounts.AuthView) or any(isinstance(one, APIKeyAuthentication) for one in authenticators):
            yield exceptions.APIKeyInvalid  # our own endpoints refuse any
        proven_by_cookie = any(
            isinstance(one, JWTCookieAuthentication | SessionAuthentication) for one in authenticators
        )
        if not is_safe and (proven_by_cookie or isinstance(view, accounts.AuthView)):
            yield exceptions.CSRFFailed
        yield from _refusals_of_permissions(view.get_permissions())
        handler = getattr(view, "action", None) or str(self.method).lower()
        if any(getattr(getattr(view, name, None), REQUIRES, ()) for name in ("initial", handler)):
            yield from (exceptions.Unauthenticated, exceptions.Forbidden)
        if query & _PAGING or any(one["in"] == "path" for one in parameters):
            yield exceptions.NotFound
        limited = (getattr(view, name, None) for name in ("check_throttles", "dispatch", handler))
        if view.get_throttles() or any(getattr(one, LIMITS, ()) for one in limited):
            yield exceptions.RateLimited
        if authenticators or not is_safe:
            yield exceptions.StateUnavailable
        yield from getattr(view, "secure_auth_refusals", {}).get(handler, ())

    def _problem(self, status: int, refusals: list[Refusal]) -> Schema:
        """A response of one status and these codes, described once for all operations that answer it."""
        document = self._register("ProblemDocument", ResolvedComponent.SCHEMA, PROBLEM)
        codes = [one.code for one in refusals]
        examples = {one.code: self._register(one.code, ResolvedComponent.EXAMPLE, _example(one)) for one in refusals}
        members = {"status": {"type": "integer", "enum": [status]}, "code": {"type": "string", "enum": codes}}
        schema = {"allOf": [document, {"type": "object", "properties": members}]}
        response = {
            "description": "; ".join(f"{one.title} (`{one.code}`)" for one in refusals),
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
            "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
        }
        return self._register(".".join(codes), ResolvedComponent.RESPONSE, response)

    def _register(self, name: str, kind: str, schema: Schema, *, of: object = SecureAuthError) -> Schema:
        component = ResolvedComponent(name=name, type=kind, schema=schema, object=of)
        self.registry.register_on_missing(component)
        return component.ref


# --- our operations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """What an endpoint of ours does. `app_body` and `app_answers` hold with `ALLOW_TOKEN_IN_BODY`."""

    name: str
    summary: str
    description: str
    answers: Mapping[int, Body | None]
    body: Body | None = None
    app_body: Body | None = None
    app_answers: Mapping[int, Body] = field(default_factory=dict)
    security: tuple[Mapping[str, list[str]], ...] | None = None
    """None: as its authentication classes say."""
    refusals: tuple[Refusal, ...] = ()
    query: tuple[OpenApiParameter, ...] = ()
    examples: tuple[OpenApiExample, ...] = ()
    takes_tokens: bool = False

    def decorator(self) -> Any:
        in_body = self.takes_tokens and conf.ALLOW_TOKEN_IN_BODY
        security: Any = None if self.security is None else [dict(one) for one in self.security]
        if in_body:
            security = [*security, {}]
        return extend_schema(
            operation_id=self.name,
            summary=self.summary,
            description=self.description,
            tags=["auth"],
            request=self._request(in_body=in_body),
            responses={**self.answers, **(self.app_answers if in_body else {})},
            auth=security,
            parameters=[*self.query, *([_TRANSPORT] if in_body else [])],
            examples=list(self.examples),
        )

    def _request(self, *, in_body: bool) -> Any:
        if self.body is None:
            return None
        if not in_body or self.app_body is None:
            return {"application/json": self.body}
        if issubclass(self.app_body, self.body):
            return {"application/json": self.app_body}
        name = f"SecureAuth{self.app_body.__name__.removesuffix('Serializer')}OrNot"
        either = PolymorphicProxySerializer(
            component_name=name, serializers=[self.body, self.app_body], resource_type_field_name=None
        )
        return {"application/json": either}


_TRANSPORT = OpenApiParameter(
    "X-Token-Transport",
    str,
    OpenApiParameter.HEADER,
    enum=["body"],
    description="For apps without a cookie jar: tokens travel in bodies, cookies and CSRF are out of the game.",
)
_USER = {"id": "7", "email": "ana@example.com", "roles": ["editor"]}
_SESSION = {
    "id": "0b9f6a8e-6a53-4f0c-8f0f-0c6f7f1f6d11",
    "created_at": "2026-03-01T09:30:00.000Z",
    "idle_expires_at": "2026-03-01T10:00:00.000Z",
    "expires_at": "2026-03-01T21:30:00.000Z",
    "remember_me": False,
    "amr": ["pwd", "email"],
}
_SIGN_IN = OpenApiExample(
    "SignIn",
    {"email": "ana@example.com", "password": "correct horse battery staple", "remember_me": False},
    request_only=True,
)
_REGISTER = OpenApiExample(
    "Register", {"email": "ana@example.com", "password": "correct horse battery staple"}, request_only=True
)
_OPENED = OpenApiExample(
    "SignedIn",
    {
        "status": "authenticated",
        "user": _USER,
        "session": _SESSION,
        "access_expires_at": "2026-03-01T09:35:00.000Z",
    },
    response_only=True,
    status_codes=["200"],
)
_ASKED = OpenApiExample(
    "CodeRequired",
    {
        "status": "otp_required",
        "challenge": {
            "id": "5c1f0d1e-9a5f-4c3b-9f2a-3f1c1a0e2b77",
            "purpose": "login",
            "sent_to": "a***@example.com",
            "expires_at": "2026-03-01T09:35:00.000Z",
            "resend_at": "2026-03-01T09:30:30.000Z",
            "attempts_left": 5,
        },
    },
    response_only=True,
    status_codes=["202"],
)
_CODE = OpenApiExample("Code", {"otp_code": "123456"}, request_only=True)
_ME = OpenApiExample("Me", _USER, response_only=True, status_codes=["200"])
_WANTED = OpenApiExample("Wanted", {"name": "Nightly report", "scopes": ["reports:read"]}, request_only=True)
_MADE = OpenApiExample(
    "Made",
    {
        "id": "8f14e45f-ceea-467f-a0e6-5d1f2c3b4a59",
        "public_id": "k3v9x0q2m7w1z8ab",
        "name": "Nightly report",
        "scopes": ["reports:read"],
        "allowed_networks": [],
        "rate_limit": None,
        "created_at": "2026-03-01T09:30:00.000Z",
        "expires_at": "2027-03-01T09:30:00.000Z",
        "last_used_at": None,
        "retires_at": None,
        "replaces": None,
        "key": "dsa_live_k3v9x0q2m7w1z8ab_…",
    },
    response_only=True,
    status_codes=["201"],
)
_PAGE = OpenApiParameter("page", {"type": "integer", "minimum": 1}, description="Of 100 rows each.")


_CURSOR = OpenApiParameter("cursor", str, description="Of a page of 50, as `next` and `previous` have it.")


Operations = dict[tuple[type[APIView], str], Operation]


def operations() -> Operations:
    """Return what each method of each view of ours does."""
    return _ways_in() | _own_account() | _PUBLIC


def _ways_in() -> Operations:
    """Of `accounts.views`: signing in, going on, proving it again, going away."""
    opened: dict[str, Any] = {"app_answers": {200: SignedInWithTokens}, "takes_tokens": True}
    return {
        (accounts.CSRFView, "get"): Operation(
            "auth_csrf",
            "Get a CSRF token",
            "For everyone, signed in or not. Sets the CSRF cookie; send the token in its header with every write.",
            {200: CSRFToken},
            security=({},),
        ),
        (accounts.LoginView, "post"): Operation(
            "auth_login",
            "Sign in",
            "With a password. 200 opens a session and sets its cookies; 202 says that a code is on its way by mail, "
            "which goes to `otp/approve/` from this browser. A wrong password, an unknown and an inactive account are "
            "answered alike.",
            {200: SignedIn, 202: CodeRequired},
            body=bodies.LoginSerializer,
            app_body=bodies.LoginInBodySerializer,
            app_answers={200: SignedInWithTokens, 202: CodeRequiredWithToken},
            security=(_CSRF,),
            refusals=(
                exceptions.InvalidCredentials,
                exceptions.PolicyRejected,
                exceptions.PasswordChangeRequired,
                exceptions.RateLimited,
                exceptions.DeliveryUnavailable,
            ),
            examples=(_SIGN_IN, _OPENED, _ASKED),
            takes_tokens=True,
        ),
        (accounts.OTPApproveView, "post"): Operation(
            "auth_otp_approve",
            "Approve the code",
            "Finishes what the code was for. It works once, in the browser that asked for it, a few tries long.",
            {200: SignedIn},
            body=bodies.ApproveSerializer,
            app_body=bodies.ApproveInBodySerializer,
            security=({"challengeCookie": [], **_CSRF},),
            refusals=(exceptions.OTPInvalid, exceptions.ChallengeInvalid),
            examples=(_CODE, _OPENED),
            **opened,
        ),
        (accounts.OTPResendView, "post"): Operation(
            "auth_otp_resend",
            "Send another code",
            "The code before is dead from then on; the tries that are left stay the same.",
            {202: CodeRequired},
            body=bodies.NothingSerializer,
            app_body=bodies.ChallengeInBodySerializer,
            app_answers={202: CodeRequiredWithToken},
            security=({"challengeCookie": [], **_CSRF},),
            refusals=(exceptions.ChallengeInvalid, exceptions.RateLimited, exceptions.DeliveryUnavailable),
            examples=(_ASKED,),
            takes_tokens=True,
        ),
        (accounts.RefreshView, "post"): Operation(
            "auth_refresh",
            "Refresh",
            "Exchanges the refresh token for its successor, and sets both cookies anew. Call it on 401 "
            "`token_expired`, then repeat the request. A token that was used up long ago ends the session.",
            {200: SignedIn},
            body=bodies.NothingSerializer,
            app_body=bodies.RefreshInBodySerializer,
            security=({"refreshCookie": [], **_CSRF},),
            refusals=(
                exceptions.Unauthenticated,
                exceptions.TokenInvalid,
                exceptions.SessionInactive,
                exceptions.SessionRevoked,
                exceptions.RefreshReused,
                exceptions.RateLimited,
            ),
            examples=(_OPENED,),
            **opened,
        ),
        (accounts.LogoutView, "post"): Operation(
            "auth_logout",
            "Sign out",
            "Ends the session on the server, clears the cookies, and sends `Clear-Site-Data`. Without a session it is "
            "the same answer.",
            {204: None},
            body=bodies.NothingSerializer,
            security=({"refreshCookie": [], **_CSRF}, _CSRF, _BEARER),
            refusals=(exceptions.TokenInvalid,),
            takes_tokens=True,
        ),
        (accounts.RegisterView, "post"): Operation(
            "auth_register",
            "Open an account",
            "A code goes to the address, which is to be proven with it at `register/verify/`. An address that has an "
            "account is answered alike, and told by the mail alone.",
            {202: CodeRequired},
            body=bodies.registration_serializer(),
            app_answers={202: CodeRequiredWithToken},
            security=(_CSRF,),
            refusals=(
                exceptions.Forbidden,
                exceptions.PasswordRejected,
                exceptions.PolicyRejected,
                exceptions.RateLimited,
                exceptions.DeliveryUnavailable,
            ),
            examples=(_REGISTER, _ASKED),
            takes_tokens=True,
        ),
        (accounts.RegisterVerifyView, "post"): Operation(
            "auth_register_verify",
            "Prove the address",
            "Makes the account and signs it in. The code works once, in the browser that asked for it, a few tries "
            "long.",
            {200: SignedIn},
            body=bodies.ApproveSerializer,
            app_body=bodies.ApproveInBodySerializer,
            security=({"challengeCookie": [], **_CSRF},),
            refusals=(exceptions.OTPInvalid, exceptions.ChallengeInvalid),
            examples=(_CODE, _OPENED),
            **opened,
        ),
        (accounts.PasswordResetView, "post"): Operation(
            "auth_password_reset",
            "Ask for a link that resets the password",
            "It is mailed if the address has an account; the answer is always the same.",
            {202: Accepted},
            body=bodies.PasswordResetSerializer,
            security=(_CSRF,),
            refusals=(exceptions.RateLimited, exceptions.DeliveryUnavailable),
            takes_tokens=True,
        ),
        (accounts.PasswordResetConfirmView, "post"): Operation(
            "auth_password_reset_confirm",
            "Reset the password",
            "With what the link holds, once. All sessions, trusted devices and other links are over. It signs nobody "
            "in.",
            {204: None},
            body=bodies.PasswordResetConfirmSerializer,
            security=(_CSRF,),
            refusals=(exceptions.ResetInvalid, exceptions.PasswordRejected),
            takes_tokens=True,
        ),
        (accounts.ReauthenticateView, "post"): Operation(
            "auth_reauthenticate",
            "Prove again who I am",
            "What is dangerous asks for it: 403 `step_up_required`. 202 says that a code is on its way by mail, which "
            "goes to `otp/approve/`. A refresh is no proof.",
            {200: SignedIn, 202: CodeRequired},
            body=bodies.ReauthenticateSerializer,
            app_answers={200: SignedInWithTokens, 202: CodeRequiredWithToken},
            refusals=(
                exceptions.InvalidCredentials,
                exceptions.PolicyRejected,
                exceptions.RateLimited,
                exceptions.DeliveryUnavailable,
            ),
            examples=(_OPENED, _ASKED),
        ),
        (accounts.PasswordChangeView, "post"): Operation(
            "auth_password_change",
            "Change my password",
            "The current one is the proof. Every other session ends, and this one goes on.",
            {204: None},
            body=bodies.PasswordChangeSerializer,
            refusals=(exceptions.InvalidCredentials, exceptions.PasswordRejected, exceptions.RateLimited),
        ),
        (accounts.EmailChangeView, "post"): Operation(
            "auth_email_change",
            "Change my address",
            "A code goes to the new address, and to `otp/approve/` from this session; then it holds. The old address "
            "is told, and how to undo it. Asks for a recent sign-in.",
            {202: CodeRequired},
            body=bodies.EmailChangeSerializer,
            app_answers={202: CodeRequiredWithToken},
            refusals=(exceptions.PolicyRejected, exceptions.RateLimited, exceptions.DeliveryUnavailable),
            examples=(_ASKED,),
        ),
        (accounts.NotMeView, "post"): Operation(
            "auth_not_me",
            "Say that it was somebody else",
            "With what the link of a notice holds, once. All sessions end, and a reset of the password comes next.",
            {204: None},
            body=bodies.LinkSerializer,
            security=(_CSRF,),
            refusals=(exceptions.ResetInvalid,),
            takes_tokens=True,
        ),
        (accounts.EmailUndoView, "post"): Operation(
            "auth_email_undo",
            "Undo a change of address",
            "With what the link holds that was mailed to the old address, once. All sessions end, and a reset of the "
            "password comes next.",
            {204: None},
            body=bodies.LinkSerializer,
            security=(_CSRF,),
            refusals=(exceptions.ResetInvalid,),
            takes_tokens=True,
        ),
    }


def _own_account() -> Operations:
    """Of `me.views`."""
    return {
        (me.MeView, "get"): Operation(
            "auth_me", "Who am I", "The user of this session.", {200: _me()}, examples=(_ME,)
        ),
        (me.MeView, "patch"): Operation(
            "auth_me_update",
            "Change my profile",
            "Takes the fields of `PROFILE_FIELDS`; never e-mail, password, roles or privileges.",
            {200: _me()},
            body=bodies.profile_serializer(),
        ),
        (me.MeView, "delete"): Operation(
            "auth_close",
            "Close my account",
            "Everybody is signed out at once; the account goes after `ACCOUNT_CLOSING_GRACE`, unless I sign in before. "
            "Asks for a recent sign-in.",
            {204: None},
            refusals=_BAD_BODY,
        ),
        (me.ExportView, "get"): Operation(
            "auth_export",
            "Everything about my account",
            "As one JSON document. Asks for a recent sign-in.",
            {200: AccountExport},
            refusals=(exceptions.RateLimited,),
        ),
        (me.DeviceListView, "get"): Operation(
            "auth_device_list",
            "My known devices",
            "Browsers in which I have signed in; a trusted one needs no code.",
            {200: DevicePage},
            query=(_PAGE,),
        ),
        (me.DeviceListView, "post"): Operation(
            "auth_device_trust",
            "Trust this browser",
            "A code is mailed, and approving it at `otp/approve/` makes the browser a trusted one. "
            "Asks for a recent sign-in.",
            {202: CodeRequired},
            app_answers={202: CodeRequiredWithToken},
            body=bodies.NothingSerializer,
            refusals=(exceptions.PolicyRejected, exceptions.RateLimited, exceptions.DeliveryUnavailable),
            examples=(_ASKED,),
        ),
        (me.DeviceDetailView, "delete"): Operation(
            "auth_device_distrust",
            "Trust a device no more",
            "The next sign-in there asks for a code; sessions go on. Asks for a recent sign-in.",
            {204: None},
            refusals=_BAD_BODY,
        ),
        (me.SessionListView, "get"): Operation(
            "auth_session_list",
            "My sessions",
            "Those that are alive, newest first; `current` marks the one that asks.",
            {200: SessionPage},
            query=(_PAGE,),
        ),
        (me.SessionListView, "delete"): Operation(
            "auth_session_end_others",
            "End my other sessions",
            "At once, everywhere. Asks for a recent sign-in.",
            {204: None},
            refusals=_BAD_BODY,
        ),
        (me.SessionDetailView, "delete"): Operation(
            "auth_session_end",
            "End one of my sessions",
            "At once. Somebody else's is not there. Asks for a recent sign-in.",
            {204: None},
            refusals=_BAD_BODY,
        ),
        (me.ActivityView, "get"): Operation(
            "auth_activity",
            "What happened to my account",
            "Newest first: sign-ins and refusals, changes, what administrators did. By cursor; follow `next`.",
            {200: ActivityPage},
            query=(_CURSOR,),
        ),
        (me.APIKeyListView, "get"): Operation(
            "auth_apikey_list", "My API keys", "Those that work, newest first.", {200: KeyPage}, query=(_PAGE,)
        ),
        (me.APIKeyListView, "post"): Operation(
            "auth_apikey_create",
            "Make an API key",
            "The answer holds the key, which is shown nowhere else and never again. Asks for a recent sign-in.",
            {201: NewKey},
            body=APIKeySerializer,
            refusals=(exceptions.PolicyRejected,),
            examples=(_WANTED, _MADE),
        ),
        (me.APIKeyDetailView, "patch"): Operation(
            "auth_apikey_update",
            "Change an API key",
            "Holds at once. Asks for a recent sign-in.",
            {200: Key},
            body=APIKeySerializer,
        ),
        (me.APIKeyDetailView, "delete"): Operation(
            "auth_apikey_revoke",
            "Revoke an API key",
            "At once. Asks for a recent sign-in.",
            {204: None},
            refusals=_BAD_BODY,
        ),
        (me.APIKeyRotateView, "post"): Operation(
            "auth_apikey_rotate",
            "Replace an API key",
            "By a new one, which may do the same; both work for a while. Asks for a recent sign-in.",
            {201: NewKey},
            body=bodies.NothingSerializer,
            refusals=(exceptions.PolicyRejected,),
            examples=(_MADE,),
        ),
    }


_PUBLIC: Operations = {
    (JWKSView, "get"): Operation(
        "auth_jwks",
        "Public keys",
        "Of the access tokens, for services that verify them. Empty with HMAC, whose keys are never public.",
        {200: PublicKeys},
        security=({},),
    ),
}


class _OurViews(OpenApiViewExtension):
    target_class: type[APIView] = accounts.AuthView
    match_subclasses = True

    def view_replacement(self) -> type[APIView]:
        found = {method: one for (view, method), one in operations().items() if issubclass(self.target, view)}
        members = {
            "schema": AutoSchema(),
            "secure_auth_refusals": {method: one.refusals for method, one in found.items()},
        }
        described = type(self.target.__name__, (self.target,), members)
        return extend_schema_view(**{method: one.decorator() for method, one in found.items()})(described)


class _OurKeys(_OurViews):
    target_class = JWKSView
