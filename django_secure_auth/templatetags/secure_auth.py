"""`{% load secure_auth %}{{ note.body|clean_html }}`."""

from __future__ import annotations

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from django_secure_auth.kit import sanitize

register = template.Library()


@register.filter
def clean_html(value: object, preset: str = "comment") -> SafeString:
    """Show HTML of strangers, cleaned; what is refused is shown as text, since a page must not fail over it."""
    text = "" if value is None else str(value)
    try:
        return mark_safe(sanitize.clean_html(text, preset))  # nosec B308, B703  # noqa: S308  # it is cleaned
    except sanitize.HTMLRefused:
        return escape(text)
