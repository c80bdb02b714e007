"""`/healthz` (this process answers) and `/readyz` (everything needed to serve an instance is there). No key needed."""

from django.http import HttpRequest, JsonResponse


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})
