"""`/v1/ssh-keys`: public keys that open instances."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, NotRequired, TypedDict

from django_filters import CharFilter
from rest_framework import serializers

from api.filters import Filters
from api.renderers import Answer, Created, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet
from compute.actions import ssh_keys
from compute.models import SshKey
from core.errors import Invalid
from core.models import Counter


class CreateInput(Input):
    name = serializers.CharField(max_length=100)
    public_key = serializers.CharField(max_length=16384, required=False)
    generate = serializers.BooleanField(default=False, help_text="Make a pair here; the private key is shown once.")

    example = {"name": "laptop", "generate": True}


class UpdateInput(Input):
    name = serializers.CharField(max_length=100)

    example = {"name": "work laptop"}


class SshKeyOut(TypedDict):
    id: Annotated[str, public_id("key")]
    name: Annotated[str, like("laptop")]
    public_key: Annotated[str, like("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… laptop"), "One OpenSSH line."]
    fingerprint: Annotated[str, like("SHA256:9f1o2…"), "As `ssh-keygen -l` prints it."]
    created_at: datetime
    private_key: NotRequired[
        Annotated[
            str, like("-----BEGIN OPENSSH PRIVATE KEY-----\n…"), "Only in the answer to `generate`, and never again."
        ]
    ]


def representation(key: SshKey) -> SshKeyOut:
    return {
        "id": key.public_id,
        "name": key.name,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
        "created_at": key.created_at,
    }


class SshKeyFilters(Filters):
    name = CharFilter(label="Exactly this name.")
    q = CharFilter("name", "icontains", label="What the name contains.")
    fingerprint = CharFilter(label="Exactly this fingerprint.")


class SshKeys(ViewSet):
    """Public keys that open instances. An instance takes those named when it is made."""

    scopes = {
        "list": "ssh_keys:read",
        "retrieve": "ssh_keys:read",
        "create": "ssh_keys:write",
        "update": "ssh_keys:write",
        "destroy": "ssh_keys:write",
    }
    query = {"list": SshKeyFilters.query()}
    takes = {"create": CreateInput, "update": UpdateInput}

    def rows(self, request) -> Any:
        return SshKey.objects.for_account(request.account).select_related("account")

    def list(self, request) -> Answer[Page[SshKeyOut]]:
        total = partial(Counter.of, request.account, "ssh_key")
        return Answer(SshKeyFilters.page(request, self.rows(request), representation, total=total))

    def retrieve(self, request, id: str) -> Answer[SshKeyOut]:
        key = self.row(request, id)
        return Answer(representation(key), version=key.version)

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
        key = ssh_keys.rename(key=self.row(request, id), by=request.by, **UpdateInput.read(request))
        return Answer(representation(key), version=key.version)

    def destroy(self, request, id: str) -> Answer[SshKeyOut]:
        key = self.row(request, id)
        shown = representation(key)
        ssh_keys.remove(key=key, by=request.by)
        return Answer(shown)
