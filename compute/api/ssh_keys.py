"""`/v1/ssh-keys`: public keys that open instances."""

from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from rest_framework import serializers

from api.pagination import cut, page
from api.renderers import Answer, Created, Page
from api.serializers import Input
from api.views import ViewSet, found
from compute.actions import ssh_keys
from compute.models import SshKey
from core.errors import Invalid


class CreateInput(Input):
    name = serializers.CharField(max_length=100)
    public_key = serializers.CharField(max_length=16384, required=False)
    generate = serializers.BooleanField(default=False, help_text="Make a pair here; the private key is shown once.")

    example = {"name": "laptop", "generate": True}


class UpdateInput(Input):
    name = serializers.CharField(max_length=100)

    example = {"name": "work laptop"}


class SshKeyOut(TypedDict):
    id: str
    name: str
    public_key: Annotated[str, "One OpenSSH line."]
    fingerprint: Annotated[str, "SHA256:…, as `ssh-keygen -l` prints it."]
    created_at: datetime
    private_key: NotRequired[Annotated[str, "Only in the answer to `generate`, and never again."]]


def representation(key: SshKey) -> SshKeyOut:
    return {
        "id": key.public_id,
        "name": key.name,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
        "created_at": key.created_at,
    }


class SshKeys(ViewSet):
    """Public keys that open instances. An instance takes those named when it is made."""

    scopes = {
        "list": "ssh_keys:read",
        "retrieve": "ssh_keys:read",
        "create": "ssh_keys:write",
        "update": "ssh_keys:write",
        "destroy": "ssh_keys:write",
    }
    query = {"list": {"page", "limit"}}
    takes = {"create": CreateInput, "update": UpdateInput}

    def _get(self, request, id: str) -> SshKey:
        return found(SshKey.objects.for_account(request.account).select_related("account"), id)

    def list(self, request) -> Answer[Page[SshKeyOut]]:
        number, limit = page(request)
        keys = SshKey.objects.for_account(request.account)
        rows = [representation(key) for key in cut(keys, number, limit)]
        return Answer(Page(rows, number, limit, keys.count()))

    def retrieve(self, request, id: str) -> Answer[SshKeyOut]:
        return Answer(representation(self._get(request, id)))

    def create(self, request) -> Created[SshKeyOut]:
        fields = CreateInput.read(request)
        if fields["generate"] == ("public_key" in fields):
            raise Invalid.field("public_key", "Send either public_key or generate: true")
        named = {"account": request.account, "by": request.by, "name": fields["name"]}
        if not fields["generate"]:
            return Created(representation(ssh_keys.add(**named, public_key=fields["public_key"])))
        key, private_key = ssh_keys.generate(**named)
        return Created({**representation(key), "private_key": private_key})

    def update(self, request, id: str) -> Answer[SshKeyOut]:
        key = self._get(request, id)
        return Answer(representation(ssh_keys.rename(key=key, by=request.by, **UpdateInput.read(request))))

    def destroy(self, request, id: str) -> Answer[SshKeyOut]:
        key = self._get(request, id)
        shown = representation(key)
        ssh_keys.remove(key=key, by=request.by)
        return Answer(shown)
