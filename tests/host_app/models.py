"""A host's own models: rows with an owner, rows below such rows, rows that are nobody's, a row with every column."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from django_secure_auth.ownership.querysets import OwnedQuerySet
from django_secure_auth.strict import SafeOrderingQuerySet
from django_secure_auth.strict.fields import validate_identifier


class Tag(models.Model):
    """Nobody's: a tag is for everybody."""

    name = models.SlugField(unique=True)

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    secure_auth_owner = "owner"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    name = models.SlugField(unique=True)

    objects = OwnedQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Task(models.Model):
    secure_auth_owner = "project__owner"

    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="tasks")
    title = models.CharField(max_length=40)

    objects = OwnedQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title


class NoteQuerySet(SafeOrderingQuerySet["Note"], OwnedQuerySet["Note"]):
    safe_ordering: ClassVar = ("created_at", "title")


class Note(models.Model):
    secure_auth_owner = "owner"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    title = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)
    project = models.ForeignKey(Project, models.SET_NULL, null=True, blank=True, related_name="+")
    tags = models.ManyToManyField(Tag, blank=True)
    tasks = models.ManyToManyField(Task, blank=True)

    objects = NoteQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "title"], name="host_note_title")]

    def __str__(self) -> str:
        return self.title


class Sample(models.Model):
    """Every kind of column that a serializer can be generated for."""

    char = models.CharField(max_length=20, blank=True)
    text = models.TextField(blank=True)
    email = models.EmailField(blank=True)
    slug = models.SlugField(blank=True)
    url = models.URLField(blank=True)
    identifier = models.CharField(max_length=64, blank=True, validators=[validate_identifier])
    uuid = models.UUIDField(default=uuid.uuid4)
    address = models.GenericIPAddressField(null=True, blank=True)
    boolean = models.BooleanField(default=False)
    maybe = models.BooleanField(null=True)
    small = models.PositiveSmallIntegerField(default=0)
    integer = models.IntegerField(default=0)
    big = models.BigIntegerField(default=0)
    real = models.FloatField(default=0)
    decimal = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    moment = models.DateTimeField(null=True, blank=True)
    day = models.DateField(null=True, blank=True)
    time = models.TimeField(null=True, blank=True)
    duration = models.DurationField(null=True, blank=True)
    json = models.JSONField(null=True, blank=True)
    choice = models.CharField(max_length=5, choices=[("red", "Red"), ("blue", "Blue")], default="red")
    number = models.IntegerField(choices=[(1, "One"), (2, "Two")], default=1)
    project = models.ForeignKey(Project, models.SET_NULL, null=True, blank=True, related_name="+")
    tags = models.ManyToManyField(Tag, blank=True)

    def __str__(self) -> str:
        return self.char
