"""P: the ceiling. A plain Django view that answers one constant JSON object, without any middleware."""

import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="bench", MIDDLEWARE=[], LOGGING_CONFIG=None)
django.setup()


def hello(request):
    return JsonResponse({"success": True, "data": {"id": "inst_1", "status": "running"}})


urlpatterns = [path("plain", hello)]

from django.core.wsgi import get_wsgi_application  # noqa: E402  (settings come first)

application = get_wsgi_application()
