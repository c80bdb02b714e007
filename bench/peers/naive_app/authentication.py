from hashlib import sha256

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from bench.peers.naive_app.models import Key


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request):
        key = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        found = Key.objects.select_related("user").filter(digest=sha256(key.encode()).hexdigest()).first()
        if not found:
            raise AuthenticationFailed
        return found.user, found
