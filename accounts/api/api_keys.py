"""`/v1/account/api-keys`: the keys of the caller's account."""

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from accounts.actions import api_keys
from accounts.models import ApiKey
from accounts.models.api_key import Secret
from api.pagination import cut, page
from api.renderers import Page
from api.serializers import Input
from api.views import ViewSet, found


class CreateInput(Input):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.CharField(max_length=64), required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Default: in 90 days; null: never.")
    allowed_cidrs = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=100)


class UpdateInput(Input):
    name = serializers.CharField(max_length=100, required=False)
    allowed_cidrs = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=100)


class RotateInput(Input):
    overlap_hours = serializers.IntegerField(min_value=0, max_value=api_keys.MAX_OVERLAP_HOURS, default=24)


def representation(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.public_id,
        "name": key.name,
        "status": key.status,
        "hint": f"…{key.hint}",
        "scopes": key.scopes,
        "allowed_cidrs": key.allowed_cidrs,
        "created_by": key.created_by.public_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "last_used_ip": key.last_used_ip or None,
        "last_used_agent": key.last_used_agent or None,
    }


def _with_secret(key: ApiKey, secret: Secret) -> dict[str, Any]:
    return representation(key) | {"key": secret.key, "key_ascii": secret.key_ascii}


class ApiKeys(ViewSet):
    scopes = {
        "list": "api_keys:read",
        "retrieve": "api_keys:read",
        "create": "api_keys:write",
        "update": "api_keys:write",
        "destroy": "api_keys:write",
        "rotate": "api_keys:write",
    }
    query = {"list": {"page", "limit"}}

    def _get(self, request, id: str) -> ApiKey:
        return found(ApiKey.objects.for_account(request.account), id)

    def list(self, request) -> Response:
        number, limit = page(request)
        keys = ApiKey.objects.for_account(request.account)
        rows = [representation(key) for key in cut(keys, number, limit)]
        return Response(Page(rows, number, limit, keys.count()))

    def retrieve(self, request, id: str) -> Response:
        return Response(representation(self._get(request, id)))

    def create(self, request) -> Response:
        fields = CreateInput.read(request)
        key, secret = api_keys.create(
            account=request.account,
            by=request.by,
            maker=request.auth.user,
            grantable=request.auth.scopes,
            name=fields["name"],
            scopes=fields.get("scopes"),
            expires_at=fields.get("expires_at"),
            never_expires="expires_at" in fields and fields["expires_at"] is None,
            allowed_cidrs=fields.get("allowed_cidrs", ()),
        )
        return Response(_with_secret(key, secret), status=201)

    def update(self, request, id: str) -> Response:
        key = self._get(request, id)
        return Response(representation(api_keys.update(key=key, by=request.by, **UpdateInput.read(request))))

    def destroy(self, request, id: str) -> Response:
        return Response(representation(api_keys.revoke(key=self._get(request, id), by=request.by)))

    def rotate(self, request, id: str) -> Response:
        key = self._get(request, id)
        successor, secret = api_keys.rotate(key=key, by=request.by, **RotateInput.read(request))
        return Response(_with_secret(successor, secret), status=201)
