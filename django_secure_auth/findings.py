"""What a system check says: one maker of errors, one of warnings. Slices keep their checks beside what they judge."""

from __future__ import annotations

from django.core.checks import Error, Info, Warning


def error(number: int, message: str, hint: str) -> Error:
    """Return the finding `secure_auth.E<number>`, which stops `check`, `migrate` and `runserver`."""
    return Error(message, hint=hint, id=f"secure_auth.E{number:03d}")


def warning(number: int, message: str, hint: str) -> Warning:
    """Return the finding `secure_auth.W<number>`."""
    return Warning(message, hint=hint, id=f"secure_auth.W{number:03d}")


def info(number: int, message: str, hint: str) -> Info:
    """Return the note `secure_auth.I<number>`: to know, not to mend."""
    return Info(message, hint=hint, id=f"secure_auth.I{number:03d}")
