"""Public keys, for other services that verify our access tokens."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from django_secure_auth.conf import signing_ring


@require_safe
def jwks(request: HttpRequest) -> JsonResponse:
    """The public half of the asymmetric keys (RFC 7517 §5); empty for HMAC, whose keys are never public."""
    response = JsonResponse(signing_ring().jwks())
    response.headers["Cache-Control"] = "public, max-age=300"
    return response
