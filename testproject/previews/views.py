"""What stands behind a link that somebody typed: fetched safely, and no more of it shown than its title."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.audit.services import security_logger
from django_secure_auth.decorators import rate_limit
from django_secure_auth.exceptions import PolicyRejected
from django_secure_auth.kit.safe_fetch import UnsafeURL, safe_get
from django_secure_auth.strict import StrictSerializer
from django_secure_auth.strict.parsers import StrictJSONParser

_LONGEST_TITLE = 200
_LONGEST_HOST = 253


class LinkSerializer(StrictSerializer):
    url = serializers.CharField(max_length=2048, trim_whitespace=False)


class PreviewSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Where the redirects have led.")
    status = serializers.IntegerField(help_text="What the host has answered.")
    title = serializers.CharField(help_text="Plain text: escape it like any other.")


class _TitleParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._is_inside = tag == "title" and not self.title

    def handle_endtag(self, tag: str) -> None:
        self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.title.append(data)


def title_of(html: str) -> str:
    """Return the text of the first title, on one line."""
    parser = _TitleParser()
    parser.feed(html)
    return " ".join("".join(parser.title).split())[:_LONGEST_TITLE]


def _host_in(url: str) -> str:
    """Return what stands where a URL has its host, for the trail: no path and no query, which may hold secrets."""
    try:
        return (urlsplit(url).hostname or "")[:_LONGEST_HOST]
    except ValueError:
        return ""


@rate_limit("20/min", per="user")
class LinkPreviewView(APIView):
    """The title of the page behind a link. What is inside, or cannot be fetched, is refused: always the same way."""

    parser_classes = [StrictJSONParser]
    secure_auth_refusals = {"post": [PolicyRejected]}

    @extend_schema(request=LinkSerializer, responses=PreviewSerializer)
    def post(self, request: Request) -> Response:
        link = LinkSerializer(data=request.data)
        link.is_valid(raise_exception=True)
        try:
            answer = safe_get(link.validated_data["url"], timeout=5.0, max_bytes=500_000)
        except UnsafeURL as refusal:
            if refusal.rule not in {"connection", "time"}:
                security_logger.log_suspicious(
                    description="A link to preview was refused",
                    user=request.user,
                    rule=refusal.rule,
                    host=_host_in(link.validated_data["url"]),
                )
            raise PolicyRejected("This address cannot be fetched.") from None
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        title = title_of(answer.text) if is_page else ""
        return Response({"url": str(answer.url), "status": answer.status_code, "title": title})
