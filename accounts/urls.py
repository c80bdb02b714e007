"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from accounts.api.account import Account
from accounts.api.api_keys import ApiKeys
from accounts.api.audit_log import AuditLog
from accounts.api.members import Members
from accounts.views import api_keys

v1 = [
    path("account", Account.as_view({"get": "retrieve", "patch": "update"})),
    path("account/limits", Account.as_view({"get": "limits"})),
    path("account/whoami", Account.as_view({"get": "whoami"})),
    path("account/audit-log", AuditLog.as_view({"get": "list"})),
    path("account/api-keys", ApiKeys.as_view({"get": "list", "post": "create"})),
    path("account/api-keys/<id>", ApiKeys.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("account/api-keys/<id>/rotate", ApiKeys.as_view({"post": "rotate"})),
    path("account/members", Members.as_view({"get": "list", "post": "create"})),
    path("account/members/<id>", Members.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("account/members/<id>/resend", Members.as_view({"post": "resend"})),
]
dashboard = [
    path("settings/api-keys", api_keys.List.as_view(), name="api_keys"),
    path("settings/api-keys/new", api_keys.Create.as_view(), name="api_key_create"),
    path("settings/api-keys/<id>/rotate", api_keys.Rotate.as_view(), name="api_key_rotate"),
    path("settings/api-keys/<id>/revoke", api_keys.Revoke.as_view(), name="api_key_revoke"),
]
