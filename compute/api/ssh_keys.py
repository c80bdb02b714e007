"""`/v1/ssh-keys`: public keys that open instances."""

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from api.pagination import cut, page
from api.renderers import Page
from api.serializers import Input
from api.views import ViewSet, found
from compute.actions import ssh_keys
from compute.models import SshKey
from core.errors import Invalid


class CreateInput(Input):
    name = serializers.CharField(max_length=100)
    public_key = serializers.CharField(max_length=16384, required=False)
    generate = serializers.BooleanField(default=False)


class UpdateInput(Input):
    name = serializers.CharField(max_length=100)


def representation(key: SshKey) -> dict[str, Any]:
    return {
        "id": key.public_id,
        "name": key.name,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
        "created_at": key.created_at,
    }


class SshKeys(ViewSet):
    scopes = {
        "list": "ssh_keys:read",
        "retrieve": "ssh_keys:read",
        "create": "ssh_keys:write",
        "update": "ssh_keys:write",
        "destroy": "ssh_keys:write",
    }
    query = {"list": {"page", "limit"}}

    def _get(self, request, id: str) -> SshKey:
        return found(SshKey.objects.for_account(request.account).select_related("account"), id)

    def list(self, request) -> Response:
        number, limit = page(request)
        keys = SshKey.objects.for_account(request.account)
        rows = [representation(key) for key in cut(keys, number, limit)]
        return Response(Page(rows, number, limit, keys.count()))

    def retrieve(self, request, id: str) -> Response:
        return Response(representation(self._get(request, id)))

    def create(self, request) -> Response:
        fields = CreateInput.read(request)
        if fields["generate"] == ("public_key" in fields):
            raise Invalid.field("public_key", "Send either public_key or generate: true")
        named = {"account": request.account, "by": request.by, "name": fields["name"]}
        if not fields["generate"]:
            return Response(representation(ssh_keys.add(**named, public_key=fields["public_key"])), status=201)
        key, private_key = ssh_keys.generate(**named)
        return Response(representation(key) | {"private_key": private_key}, status=201)

    def update(self, request, id: str) -> Response:
        key = self._get(request, id)
        return Response(representation(ssh_keys.rename(key=key, by=request.by, **UpdateInput.read(request))))

    def destroy(self, request, id: str) -> Response:
        key = self._get(request, id)
        shown = representation(key)
        ssh_keys.remove(key=key, by=request.by)
        return Response(shown)
