"""One page on which a person clicks through the whole journey."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def demo_page(request: HttpRequest) -> HttpResponse:
    return render(request, "testproject/demo.html")
