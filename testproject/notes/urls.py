from rest_framework.routers import SimpleRouter

from testproject.notes.views import NoteViewSet

router = SimpleRouter()
router.register("notes", NoteViewSet, basename="note")
urlpatterns = router.urls
