from __future__ import annotations

from django.db import models
from django.utils import timezone


class Report(models.Model):
    """One number, under its name."""

    name = models.CharField(max_length=100, unique=True)
    count = models.PositiveIntegerField()
    made_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
