"""A runnable example, and the target of the end-to-end tests."""

from testproject.celery import app as celery_app

__all__ = ["celery_app"]
