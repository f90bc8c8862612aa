"""What the schema says of our endpoints, and what it adds to a project's own views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS, reset_generator_stats
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import extend_schema
from drf_spectacular.validation import validate_schema
from rest_framework import serializers
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.exceptions import NotAcceptable
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView, exception_handler
from rest_framework.viewsets import ViewSet

from django_secure_auth import exceptions, openapi, urls
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.conf import conf
from django_secure_auth.decorators import requires
from django_secure_auth.exceptions import PolicyRejected, SecureAuthError
from django_secure_auth.ownership.permissions import IsOwner
from django_secure_auth.problems import as_error, document
from django_secure_auth.rbac.permissions import HasRole, HasScope, RecentlyAuthenticated
from django_secure_auth.strict import SafeOrderingFilter, StrictSerializer
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from testproject.notes.models import Note
from testproject.pagination import Pages

ROOT = Path(__file__).resolve().parent.parent
AUTH = "/api/auth/"
SESSION = {"token_invalid", "token_expired", "session_inactive", "session_revoked"}


@pytest.fixture(autouse=True)
def _project(settings: Any) -> None:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_SCHEMA_CLASS": "django_secure_auth.openapi.AutoSchema",
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    }


def schema(*patterns: Any) -> dict[str, Any]:
    """The schema of these URLs, or else of ours, made without a warning and valid by OpenAPI's own schema."""
    reset_generator_stats()
    with patched_settings({"COMPONENT_SPLIT_REQUEST": True}):
        generator = SchemaGenerator(patterns=patterns or [path(AUTH.lstrip("/"), include(urls))])
        made: dict[str, Any] = generator.get_schema(request=None, public=True)
    assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()
    validate_schema(made)
    return made


def of(view: Any, *, method: str = "get", route: str = "x/", **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """One operation, and the whole schema around it. `members` make a subclass of `view`."""
    described = type("View", (view,), members) if members else view
    made = schema(path(route, described.as_view()))
    (operations,) = made["paths"].values()
    return operations[method], made


def codes(operation: dict[str, Any], made: dict[str, Any]) -> dict[int, set[str]]:
    """The codes that an operation documents, by status."""
    found = {}
    for status, given in operation["responses"].items():
        name = given.get("$ref", "").rpartition("/")[2]
        response = made["components"]["responses"][name] if name else given
        problem = response.get("content", {}).get("application/problem+json")
        if problem is not None:
            members = problem["schema"]["allOf"][1]["properties"]
            assert members["status"]["enum"] == [int(status)]
            found[int(status)] = set(members["code"]["enum"])
            assert problem["examples"].keys() == found[int(status)]
    return found


# --- our endpoints -----------------------------------------------------------------------------------


def test_every_method_of_every_url_of_ours_is_described_and_nothing_else() -> None:
    ours = {
        (one.callback.view_class, method)
        for one in urls.urlpatterns
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(one.callback.view_class, method)
    }
    assert openapi.operations().keys() == ours


def test_the_schema_of_our_urls_is_valid_and_closed() -> None:
    made = schema()
    ids = [operation["operationId"] for one in made["paths"].values() for operation in one.values()]
    assert {name for name in ids if name.startswith("auth_")} == {one.name for one in openapi.operations().values()}
    for name, component in made["components"]["schemas"].items():
        if "SecureAuth" in name:
            assert component["additionalProperties"] is False, name
    for one in made["paths"].values():
        for operation in one.values():
            codes(operation, made)


def test_what_is_written_for_readers_of_the_code_is_not_in_the_schema() -> None:
    schemas = schema()["components"]["schemas"]
    assert "description" not in schemas["SecureAuthAPIKeyRequest"]
    assert "description" not in schemas["SecureAuthSignedIn"]  # inherited
    assert "kty" in schemas["SecureAuthPublicKey"]["description"]


def _texts(part: dict[str, Any], made: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every text that a body may hold, with its place."""
    if "$ref" in part:
        part = made["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    if part.get("type") == "string":
        yield place, part
    for name, member in part.get("properties", {}).items():
        yield from _texts(member, made, f"{place}.{name}")
    for one in (part.get("items"), *part.get("oneOf", ()), *part.get("anyOf", ())):
        if one:
            yield from _texts(one, made, f"{place}[]")


@pytest.mark.control("ASVS-2.1.1")
def test_every_text_that_we_take_has_its_length_or_form_in_the_schema() -> None:
    made = schema()
    bodies = [
        (f"{method} {where}", kind["schema"])
        for where, methods in made["paths"].items()
        for method, operation in methods.items()
        for kind in operation.get("requestBody", {}).get("content", {}).values()
    ]
    texts = [(where + place, text) for where, body in bodies for place, text in _texts(body, made)]
    assert len(texts) > 20
    bounds = {"maxLength", "pattern", "enum", "format", "const"}
    assert [place for place, text in texts if not bounds & text.keys()] == []


@pytest.mark.parametrize(
    ("where", "method", "expected"),
    [
        ("csrf/", "get", {401: {"api_key_invalid"}, 406: {"not_acceptable"}}),
        ("jwks.json", "get", {406: {"not_acceptable"}}),
        (
            "login/",
            "post",
            {
                400: {"malformed_request", "validation_error"},
                401: {"invalid_credentials", "api_key_invalid"},
                403: {"csrf_failed", "password_change_required"},
                406: {"not_acceptable"},
                413: {"too_large"},
                415: {"unsupported_media_type"},
                422: {"policy_rejected"},
                429: {"rate_limited"},
                503: {"state_unavailable", "delivery_unavailable"},
            },
        ),
        (
            "sessions/{session_id}/",
            "delete",
            {
                400: {"malformed_request", "validation_error"},
                401: {"not_authenticated", "api_key_invalid"} | SESSION,
                403: {"csrf_failed", "impersonation_refused", "step_up_required"},
                404: {"not_found"},
                406: {"not_acceptable"},
                413: {"too_large"},
                415: {"unsupported_media_type"},
                503: {"state_unavailable"},
            },
        ),
        (
            "sessions/",
            "get",
            {
                401: {"not_authenticated", "api_key_invalid"} | SESSION,
                404: {"not_found"},  # a page that is not there
                406: {"not_acceptable"},
                503: {"state_unavailable"},
            },
        ),
    ],
)
def test_an_endpoint_of_ours_documents_its_refusals(where: str, method: str, expected: Any) -> None:
    made = schema()
    assert codes(made["paths"][f"{AUTH}{where}"][method], made) == expected


@pytest.mark.parametrize("refusal", [one for one in vars(exceptions).values() if isinstance(one, type)])
def test_an_example_is_what_is_really_answered(refusal: Any) -> None:
    if not issubclass(refusal, SecureAuthError):
        return
    shown = openapi._example(refusal)["value"]
    request = RequestFactory().get("/")
    members = {name: shown[name] for name in ("errors", "attempts_left") if name in shown}
    assert shown == {**document(refusal(**members), request), "request_id": shown["request_id"]}
    assert re.fullmatch(openapi.PROBLEM["properties"]["request_id"]["pattern"], shown["request_id"])
    assert shown.keys() <= openapi.PROBLEM["properties"].keys()


def test_the_example_of_another_codes_origin_is_right_too() -> None:
    shown = openapi._example(openapi._NotAcceptable)["value"]
    real = document(as_error(NotAcceptable()), RequestFactory().get("/"))
    assert shown == {**real, "request_id": shown["request_id"]}


def test_a_write_by_cookie_needs_the_csrf_token_and_one_by_bearer_does_not() -> None:
    made = schema()
    me = made["paths"][f"{AUTH}me/"]
    assert me["get"]["security"] == [{"accessCookie": []}, {"bearerToken": []}]
    assert me["patch"]["security"] == [{"accessCookie": [], "csrfToken": []}, {"bearerToken": []}]
    assert made["paths"][f"{AUTH}login/"]["post"]["security"] == [{"csrfToken": []}]
    assert made["paths"][f"{AUTH}csrf/"]["get"]["security"] == [{}]
    for one in made["paths"].values():
        for operation in one.values():
            for requirement in operation.get("security", []):
                assert requirement.keys() <= made["components"]["securitySchemes"].keys()


def test_schemes_have_the_names_that_the_settings_give(settings: Any) -> None:
    names = {name: one.get("name") for name, one in openapi.security_schemes().items()}
    assert names["accessCookie"] == "__Host-secure_auth_access"
    assert names["refreshCookie"] == "__Secure-secure_auth_refresh"
    assert names["csrfToken"] == "X-CSRF-Token"
    settings.CSRF_HEADER_NAME = "HTTP_X_CSRFTOKEN"
    settings.DJANGO_SECURE_AUTH = {"COOKIE_PREFIX": "shop", "COOKIE_SECURE": False}
    names = {name: one.get("name") for name, one in openapi.security_schemes().items()}
    assert (names["accessCookie"], names["csrfToken"]) == ("shop_access", "X-CSRFToken")


def test_a_code_has_the_length_of_the_setting(settings: Any) -> None:
    def pattern() -> str:
        return str(schema()["components"]["schemas"]["SecureAuthApproveRequest"]["properties"]["otp_code"]["pattern"])

    assert pattern() == "^[0-9]{6}$"
    settings.DJANGO_SECURE_AUTH = {"OTP_LENGTH": 8}
    assert pattern() == "^[0-9]{8}$"


def test_a_profile_has_the_fields_of_the_setting(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"PROFILE_FIELDS": ["first_name"]}
    schemas = schema()["components"]["schemas"]
    assert schemas["PatchedSecureAuthProfileRequest"]["properties"].keys() == {"first_name"}
    assert schemas["SecureAuthMe"]["properties"].keys() == {"id", "email", "roles", "first_name"}


def test_tokens_in_bodies_are_described_when_the_setting_allows_them(settings: Any) -> None:
    def header(where: str) -> list[str]:
        return [one["name"] for one in made["paths"][f"{AUTH}{where}"]["post"].get("parameters", [])]

    made = schema()
    assert header("login/") == []
    assert "SecureAuthSignedInWithTokens" not in made["components"]["schemas"]

    settings.DJANGO_SECURE_AUTH = {"ALLOW_TOKEN_IN_BODY": True}
    made = schema()
    schemas = made["components"]["schemas"]
    for where in ("login/", "otp/approve/", "otp/resend/", "refresh/", "logout/"):
        assert header(where) == ["X-Token-Transport"]
        assert {} in made["paths"][f"{AUTH}{where}"]["post"]["security"]
    assert header("api-keys/") == []
    login = made["paths"][f"{AUTH}login/"]["post"]
    assert login["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("LoginInBodyRequest")
    answers = {
        status: login["responses"][status]["content"]["application/json"]["schema"]["$ref"] for status in ("200", "202")
    }
    assert answers["200"].endswith("SignedInWithTokens")
    assert answers["202"].endswith("CodeRequiredWithToken")
    assert schemas["SecureAuthSignedInWithTokens"]["properties"].keys() >= {"access_token", "device_token"}
    either = made["paths"][f"{AUTH}refresh/"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert len(schemas[either.rpartition("/")[2]]["oneOf"]) == 2


def _fields(made: dict[str, Any], node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of a body by name, those of every alternative together."""
    if "$ref" in node:
        return _fields(made, made["components"]["schemas"][node["$ref"].rpartition("/")[2]])
    found = dict(node.get("properties", {}))
    for inner in node.get("oneOf", []):
        found |= _fields(made, inner)
    return found


def _told(field: dict[str, Any]) -> tuple[str, str]:
    """Type and length of a field, in the words of the docs."""
    kind = field["type"]
    if kind == "array":
        return f"list of {field['items']['type']}s", f"{field['maxItems']} of {field['items']['maxLength']}"
    if field.get("format") == "date-time":
        return kind, "RFC 3339"
    if field.get("pattern") == f"^[0-9]{{{conf.OTP_LENGTH}}}$":
        return kind, "`OTP_LENGTH`"
    if kind == "boolean":
        return kind, "–"
    return kind + (" or null" if field.get("nullable") else ""), f"{field.get('minLength', 0)}–{field['maxLength']}"


@pytest.mark.control("ASVS-2.1.1", "ASVS-8.1.2")
def test_every_field_of_every_body_is_documented_with_its_type_and_length(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"ALLOW_TOKEN_IN_BODY": True}
    made = schema()
    paths = {one.name: re.sub(r"<uuid:(\w+)>", r"{\1}", f"{AUTH}{one.pattern}") for one in urls.urlpatterns}
    names = {where: name for name, where in paths.items()}
    ours = {
        (field, names[where], *_told(described))
        for where, operations in made["paths"].items()
        for operation in operations.values()
        for body in operation.get("requestBody", {}).get("content", {}).values()
        for field, described in _fields(made, body["schema"]).items()
    }
    page = (ROOT / "docs" / "accounts.md").read_text(encoding="utf-8")
    table = page.partition("\n## Fields\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in line]
    assert all(len(row) == 6 and all(row) for row in rows)  # alphabet and normalisation too
    documented = {
        (field, name, row[2], row[3])
        for row in rows
        for field in re.findall(r"`(\w+)`", row[0])
        for name in re.findall(r"`([\w-]+)`", row[1])
    }
    assert documented == ours


# --- a project's own views ---------------------------------------------------------------------------


class NameSerializer(StrictSerializer):
    name = serializers.CharField()


def plain() -> type[APIView]:
    """A view without anything. Made anew: `extend_schema` takes the schema class that is set when it is called."""

    class Plain(APIView):
        authentication_classes: Any = []
        permission_classes: Any = []

        @extend_schema(responses=NameSerializer)
        def get(self, request: Any) -> Response:
            raise NotImplementedError

        @extend_schema(request=NameSerializer, responses=NameSerializer)
        def post(self, request: Any) -> Response:
            raise NotImplementedError

    return Plain


def test_a_strict_serializer_is_a_closed_object_under_its_own_name() -> None:
    _, made = of(plain(), method="post")
    assert made["components"]["schemas"]["NameRequest"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("members", "method", "expected"),
    [
        ({}, "get", {406: {"not_acceptable"}}),
        (
            {},
            "post",
            {
                400: {"malformed_request", "validation_error"},
                406: {"not_acceptable"},
                413: {"too_large"},
                415: {"unsupported_media_type"},
                503: {"state_unavailable"},
            },
        ),
        (
            {"authentication_classes": [JWTCookieAuthentication], "permission_classes": [IsAuthenticated]},
            "get",
            {401: {"not_authenticated"} | SESSION, 503: {"state_unavailable"}},
        ),
        (
            {"authentication_classes": [JWTCookieAuthentication]},
            "post",
            {401: {"not_authenticated"} | SESSION, 403: {"csrf_failed"}},
        ),
        (
            {"authentication_classes": [APIKeyAuthentication], "permission_classes": [HasScope("a:read")]},
            "post",
            {401: {"not_authenticated", "api_key_invalid"}, 403: {"permission_denied"}},
        ),
        # DRF answers 403 where the first class names no challenge.
        ({"authentication_classes": [SessionAuthentication]}, "post", {403: {"permission_denied", "csrf_failed"}}),
        ({"authentication_classes": [BasicAuthentication]}, "post", {401: {"not_authenticated"}}),
        ({"permission_classes": [AllowAny]}, "get", {}),
        ({"permission_classes": [IsAdminUser]}, "get", {403: {"permission_denied"}}),
        (
            {"permission_classes": [HasRole("editor") & RecentlyAuthenticated(minutes=5)]},
            "get",
            {403: {"impersonation_refused", "permission_denied", "step_up_required"}},
        ),
        ({"permission_classes": [RecentlyAuthenticated]}, "get", {403: {"impersonation_refused", "step_up_required"}}),
        ({"permission_classes": [~HasRole("guest")]}, "get", {403: {"permission_denied"}}),
        ({"permission_classes": [IsAuthenticated & IsOwner]}, "get", {404: {"not_found"}}),
        ({"throttle_classes": [AnonRateThrottle]}, "get", {429: {"rate_limited"}}),
        (
            {"secure_auth_refusals": {"post": [PolicyRejected], "get": [exceptions.NotFound]}},
            "post",
            {422: {"policy_rejected"}},
        ),
    ],
)
def test_refusals_follow_from_what_a_view_declares(
    members: dict[str, Any], method: str, expected: dict[int, set[str]]
) -> None:
    operation, made = of(plain(), method=method, **members)
    found = codes(operation, made)
    if members:  # what every view has, and every body, is shown by the first two
        common = {400, 406, 413, 415} | ({503} if 503 not in expected else set())
        found = {status: those for status, those in found.items() if status not in common}
    assert found == expected


def test_a_view_or_a_method_that_requires_something_refuses_strangers_and_others() -> None:
    guarded = requires("editor")(plain())
    method = type("View", (plain(),), {"get": requires("editor")(plain().get)})  # type: ignore[attr-defined]  # a class made here
    for view in (guarded, method):
        operation, made = of(view)
        found = codes(operation, made)
        assert (found[401], found[403]) == ({"not_authenticated"}, {"permission_denied"})
    operation, made = of(method, method="post")
    assert 403 not in codes(operation, made)


def test_a_path_with_an_id_may_lead_nowhere() -> None:
    operation, made = of(plain(), route="x/<int:pk>/")
    assert codes(operation, made)[404] == {"not_found"}


class Listing(ListAPIView[Note]):
    queryset = Note.objects.all()
    serializer_class = NameSerializer
    authentication_classes: Any = []
    permission_classes: Any = []
    pagination_class = Pages


def test_paging_may_lead_nowhere_and_a_filter_may_refuse() -> None:
    operation, made = of(Listing)
    assert codes(operation, made).keys() == {404, 406}
    operation, made = of(Listing, filter_backends=[SafeOrderingFilter], ordering_fields=("created_at", "title"))
    assert codes(operation, made)[400] == {"validation_error"}
    (ordering,) = (one for one in operation["parameters"] if one["name"] == "ordering")
    fits = re.compile(ordering["schema"]["pattern"]).search
    assert all(fits(value) for value in ("", "title", "-created_at,title"))
    assert not any(fits(value) for value in ("owner", "--title", "title,", "titles", "-"))


def test_refusals_of_a_viewset_are_told_by_action() -> None:
    class Things(ViewSet):
        serializer_class = NameSerializer
        authentication_classes: Any = []
        permission_classes: Any = []
        secure_auth_refusals = {"publish": [PolicyRejected]}

        @extend_schema(request=None, responses=NameSerializer)
        def publish(self, request: Any) -> Response:
            raise NotImplementedError

    made = schema(path("x/", Things.as_view({"post": "publish"})))
    assert codes(made["paths"]["/x/"]["post"], made)[422] == {"policy_rejected"}


def test_what_a_view_says_itself_stays() -> None:
    class Own(plain()):
        @extend_schema(responses={200: NameSerializer, 406: NameSerializer})
        def get(self, request: Any) -> Response:
            raise NotImplementedError

    operation, _ = of(Own)
    assert list(operation["responses"]["406"]["content"]) == ["application/json"]


def test_a_view_with_another_exception_handler_is_left_alone() -> None:
    operation, _ = of(plain(), method="post", get_exception_handler=lambda self: exception_handler)
    assert operation["responses"].keys() == {"200"}


def test_what_is_left_out_stays_out() -> None:
    class Hidden(openapi.AutoSchema):
        def is_excluded(self) -> bool:
            return True

    assert schema(path("x/", type("View", (plain(),), {"schema": Hidden()}).as_view()))["paths"] == {}


def test_a_refusal_of_a_projects_own_has_its_code_and_its_words() -> None:
    class TooManyNotes(SecureAuthError):
        status_code = 409
        code = "too_many_notes"
        title = "Too many notes"
        default_detail = "Delete one first."

    operation, made = of(plain(), method="post", secure_auth_refusals={"post": [TooManyNotes]})
    assert codes(operation, made)[409] == {"too_many_notes"}
    assert made["components"]["examples"]["too_many_notes"]["value"]["detail"] == "Delete one first."


def test_headers_of_refusals_are_described() -> None:
    made = schema()
    responses = made["components"]["responses"]
    assert responses["rate_limited"]["headers"].keys() == {"Retry-After", "RateLimit-Policy", "RateLimit"}
    assert responses["api_key_invalid.invalid_credentials"]["headers"]["WWW-Authenticate"]["required"] is True
