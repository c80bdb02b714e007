"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from accounts.api.account import Account
from accounts.api.api_keys import ApiKeys
from accounts.api.audit_log import AuditLog
from accounts.api.members import Members
from accounts.views import (
    account,
    api_keys,
    audit,
    consent,
    device,
    limits,
    members,
    oauth,
    oauth_apps,
    permissions,
    security,
    tokens,
    viewings,
)
from dashboard import palette

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
    path("settings/account", account.Settings.as_view(), name="account"),
    path("settings/account/leave", account.Leave.as_view(), name="account_leave"),
    path("settings/accounts/new", account.Create.as_view(), name="account_create"),
    path("settings/accounts/switch", account.Switch.as_view(), name="account_switch"),
    path("viewing/end", viewings.End.as_view(), name="viewing_end"),
    path("settings/second-factor", security.SecondFactor.as_view(), name="second_factor"),
    path("settings/members", members.List.as_view(), name="members"),
    path("settings/members/invite", members.Invite.as_view(), name="member_invite"),
    path("settings/members/<id>/role", members.Role.as_view(), name="member_role"),
    path("settings/members/<id>/remove", members.Remove.as_view(), name="member_remove"),
    path("settings/members/<id>/resend", members.Resend.as_view(), name="member_resend"),
    path("invitations/<token>", members.Accept.as_view(), name="invitation"),
    path("settings/api-keys", api_keys.List.as_view(), name="api_keys"),
    path("settings/api-keys/new", api_keys.Create.as_view(), name="api_key_create"),
    path("settings/api-keys/<id>", api_keys.Detail.as_view(), name="api_key"),
    path("settings/api-keys/<id>/seen", api_keys.Seen.as_view(), name="api_key_seen"),
    path("settings/api-keys/<id>/traffic", api_keys.Traffic.as_view(), name="api_key_traffic"),
    path("settings/api-keys/<id>/change", api_keys.Change.as_view(), name="api_key_change"),
    path("settings/api-keys/<id>/rotate", api_keys.Rotate.as_view(), name="api_key_rotate"),
    path("settings/api-keys/<id>/revoke", api_keys.Revoke.as_view(), name="api_key_revoke"),
    path("settings/permissions", permissions.Summary.as_view(), name="permissions"),
    path("settings/audit-log", audit.Log.as_view(), name="audit_log"),
    path("settings/limits", limits.Limits.as_view(), name="limits"),
    path("settings/api-tokens", tokens.List.as_view(), name="tokens"),
    path("settings/api-tokens/new", tokens.Create.as_view(), name="token_create"),
    path("settings/api-tokens/<id>", tokens.Detail.as_view(), name="token_detail"),
    path("settings/api-tokens/<id>/seen", tokens.Seen.as_view(), name="token_seen"),
    path("settings/api-tokens/<id>/revoke", tokens.Revoke.as_view(), name="token_revoke"),
    path("settings/oauth-apps", oauth_apps.List.as_view(), name="oauth_apps"),
    path("settings/oauth-apps/new", oauth_apps.Create.as_view(), name="oauth_app_create"),
    path("settings/oauth-apps/<id>/rotate", oauth_apps.Rotate.as_view(), name="oauth_app_rotate"),
    path("settings/oauth-apps/<id>/delete", oauth_apps.Delete.as_view(), name="oauth_app_delete"),
    path("oauth/authorize", consent.Authorize.as_view(), name="authorize"),
    path("oauth/device", device.Device.as_view(), name="device"),
    path("oauth/device_authorization", oauth.DeviceAuthorization.as_view(), name="device_authorization"),
    path("oauth/token", oauth.Token.as_view(), name="token"),
    path("oauth/revoke", oauth.Revoke.as_view(), name="oauth_revoke"),
    path("oauth/introspect", oauth.Introspect.as_view(), name="introspect"),
    path(".well-known/oauth-authorization-server", oauth.metadata, name="oauth_metadata"),
]
palette.offer(
    palette.Place("accounts:account", "Account", "building-2", "account:read", "Settings", words="plan name"),
    palette.Place("accounts:limits", "Plan & Limits", "gauge", "account:read", "Settings", words="quota usage rate"),
    palette.Place("accounts:members", "Members", "users", "members:read", "Settings", "m", "people team roles"),
    palette.Place("accounts:api_keys", "API Keys", "braces", "api_keys:read", "Settings", "k", "secrets"),
    palette.Place("accounts:tokens", "API Tokens", "ticket", "api_keys:read", "Settings", words="oauth jwt"),
    palette.Place("accounts:oauth_apps", "OAuth Apps", "blocks", "api_keys:read", "Settings", words="clients"),
    palette.Place("accounts:audit_log", "Audit Log", "scroll-text", "audit:read", "Settings", words="history activity"),
    palette.action("accounts:api_key_create", "Create API key", "api_keys:write", "Settings"),
    palette.action("accounts:token_create", "Generate API token", "api_keys:write", "Settings"),
    palette.action("accounts:oauth_app_create", "Register OAuth app", "api_keys:write", "Settings"),
    palette.action("accounts:member_invite", "Invite member", "members:write", "Settings", "user-plus"),
    palette.action("accounts:account_create", "New account", group="Settings"),
)
