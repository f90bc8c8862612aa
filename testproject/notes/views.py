"""One view set: owners read and write their notes, editors publish anybody's."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.ownership.mixins import OwnedViewMixin
from django_secure_auth.rbac.permissions import HasRole
from django_secure_auth.strict import SafeOrderingFilter
from django_secure_auth.strict.parsers import StrictJSONParser
from testproject.notes.models import Note
from testproject.notes.serializers import NoteSerializer, NothingSerializer
from testproject.pagination import Pages


class NoteViewSet(OwnedViewMixin, ModelViewSet[Note]):
    """My notes. Somebody else's is not there."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    parser_classes = [StrictJSONParser]
    pagination_class = Pages
    filter_backends = [SafeOrderingFilter]
    ordering_fields: ClassVar = ("created_at", "title")
    ordering: ClassVar = ("-created_at",)
    lookup_value_regex = "[^/]+"  # whatever stands there: the answer is a problem document of ours, no page of Django's

    def is_owner_exempt(self, request: Request) -> bool:
        return bool(self.action == "publish")  # whose role has been asked for by then

    @extend_schema(request=NothingSerializer, responses=NoteSerializer)
    @action(detail=True, methods=["post"], permission_classes=[IsAuthenticated, HasRole("editor")])
    def publish(self, request: Request, pk: Any = None) -> Response:
        """Publish a note, one's own or anybody's. For editors."""
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        note = self.get_object()
        note.is_published = True
        note.save(update_fields=["is_published"])
        return Response(self.get_serializer(note).data)
