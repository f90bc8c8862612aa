"""A host's API over its own models, written as the docs say."""

from __future__ import annotations

from typing import Any

from django.urls import include, path
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.generics import RetrieveAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.ownership.mixins import OwnedViewMixin
from django_secure_auth.ownership.permissions import IsOwner
from django_secure_auth.strict import StrictModelSerializer
from tests.host_app.models import Note, Project, Task


class ProjectSerializer(serializers.ModelSerializer[Project]):
    class Meta:
        model = Project
        fields = ("id", "name", "owner")


class TaskSerializer(serializers.ModelSerializer[Task]):
    class Meta:
        model = Task
        fields = ("id", "title", "project")


class NoteSerializer(serializers.ModelSerializer[Note]):
    class Meta:
        model = Note
        fields = ("id", "title", "owner", "project", "tasks", "tags")


class ProjectViewSet(OwnedViewMixin, ModelViewSet[Project]):
    queryset = Project.objects.order_by("pk")
    serializer_class = ProjectSerializer
    permission_classes = (AllowAny,)


class TaskViewSet(OwnedViewMixin, ModelViewSet[Task]):
    queryset = Task.objects.order_by("pk")
    serializer_class = TaskSerializer
    permission_classes = (IsAuthenticated,)


class TwentyAtATime(PageNumberPagination):
    page_size = 20


class NoteViewSet(OwnedViewMixin, ModelViewSet[Note]):
    queryset = Note.objects.order_by("pk").prefetch_related("tasks", "tags")
    serializer_class = NoteSerializer
    permission_classes = (IsAuthenticated, IsOwner)
    pagination_class = TwentyAtATime

    @action(detail=False, methods=["post"])
    def bulk(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data, status=201)

    @action(detail=False, methods=["post"])
    def clear(self, request: Request) -> Response:
        return Response({"deleted": self.get_queryset().delete()[0]})


class OpenNoteViewSet(NoteViewSet):
    """Superusers are let in, as the docs say."""

    def is_owner_exempt(self, request: Request) -> bool:
        return bool(request.user.is_superuser)


class NestedTaskSerializer(serializers.ModelSerializer[Task]):
    class Meta:
        model = Task
        fields = ("id", "title")


class NestedTaskViewSet(OwnedViewMixin, ModelViewSet[Task]):
    queryset = Task.objects.order_by("pk")
    serializer_class = NestedTaskSerializer
    permission_classes = (IsAuthenticated,)
    parent_lookup_kwargs = {"project_name": "project__name"}


class OpenNestedTaskViewSet(NestedTaskViewSet):
    def is_owner_exempt(self, request: Request) -> bool:
        return bool(request.user.is_superuser)


class NumberedTaskViewSet(NestedTaskViewSet):
    parent_lookup_kwargs = {"project_pk": "project__pk"}


# --- views whose author forgot something -----------------------------------------------------------------


class OwnQuerysetView(NoteViewSet):
    """A get_queryset() without super()."""

    def get_queryset(self) -> Any:
        return Note.objects.order_by("-pk")


class OwnSaveView(NoteViewSet):
    """A perform_create() and perform_update() as in DRF's tutorial, without super()."""

    def perform_create(self, serializer: Any) -> None:
        serializer.save(owner=self.request.user)

    def perform_update(self, serializer: Any) -> None:
        serializer.save()


class OwnObjectView(NoteViewSet):
    """A get_object() that looks among all rows."""

    permission_classes = (IsAuthenticated,)

    def get_object(self) -> Any:
        found = Note.objects.get(pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, found)
        return found


class WrongOrder(ModelViewSet[Note], OwnedViewMixin):
    queryset = Note.objects.order_by("pk")
    serializer_class = NoteSerializer


class ByIdSerializer(StrictModelSerializer[Note]):
    """Its author writes the owner's and the project's ids as plain numbers, which no related field guards."""

    owner_id = serializers.IntegerField(required=False)

    class Meta:
        model = Note
        fields = ("id", "title", "owner_id")


class ByIdView(NoteViewSet):
    serializer_class = ByIdSerializer


class LooseTaskSerializer(serializers.ModelSerializer[Task]):
    project_id = serializers.IntegerField()

    class Meta:
        model = Task
        fields = ("id", "title", "project_id")


class LooseTaskView(TaskViewSet):
    serializer_class = LooseTaskSerializer


class PlainView(RetrieveAPIView[Note]):
    """No mixin: the permission alone."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    permission_classes = (IsAuthenticated, IsOwner)


class PlainTaskView(RetrieveAPIView[Task]):
    queryset = Task.objects.all()
    serializer_class = TaskSerializer
    permission_classes = (IsOwner,)


router = SimpleRouter()
router.register("projects", ProjectViewSet, "project")
router.register("tasks", TaskViewSet, "task")
router.register("notes", NoteViewSet, "note")
router.register("open-notes", OpenNoteViewSet, "open-note")
router.register("own-queryset", OwnQuerysetView, "own-queryset")
router.register("own-save", OwnSaveView, "own-save")
router.register("own-object", OwnObjectView, "own-object")
router.register("wrong-order", WrongOrder, "wrong-order")
router.register("by-id", ByIdView, "by-id")
router.register("loose-tasks", LooseTaskView, "loose-task")

nested = SimpleRouter()
nested.register("tasks", NestedTaskViewSet, "nested-task")
numbered = SimpleRouter()
numbered.register("tasks", NumberedTaskViewSet, "numbered-task")
open_nested = SimpleRouter()
open_nested.register("tasks", OpenNestedTaskViewSet, "open-nested-task")

urlpatterns = [
    path("", include(router.urls)),
    path("named/<str:project_name>/", include(nested.urls)),
    path("open-named/<str:project_name>/", include(open_nested.urls)),
    path("numbered/<str:project_pk>/", include(numbered.urls)),
    path("plain/<str:pk>/", PlainView.as_view(), name="plain"),
    path("plain-tasks/<str:pk>/", PlainTaskView.as_view(), name="plain-task"),
]
