"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from dashboard import palette
from webhooks.api.deliveries import Deliveries
from webhooks.api.webhooks import Webhooks
from webhooks.views import deliveries, signatures, webhook_changes, webhook_create, webhooks

v1 = [
    path("webhooks", Webhooks.as_view({"get": "list", "post": "create"})),
    path("webhooks/test-vectors", Webhooks.as_view({"get": "test_vectors"})),
    path("webhooks/<id>", Webhooks.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("webhooks/<id>/test", Webhooks.as_view({"post": "test"})),
    path("webhooks/<id>/rotate-secret", Webhooks.as_view({"post": "rotate_secret"})),
    path("webhooks/<id>/replay", Webhooks.as_view({"post": "replay"})),
    path("webhooks/<webhook_id>/deliveries", Deliveries.as_view({"get": "list"})),
    path("webhooks/<webhook_id>/deliveries/<id>", Deliveries.as_view({"get": "retrieve"})),
    path("webhooks/<webhook_id>/deliveries/<id>/redeliver", Deliveries.as_view({"post": "redeliver"})),
]
dashboard = [
    path("webhooks", webhooks.List.as_view(), name="webhooks"),
    path("webhooks/new", webhook_create.Create.as_view(), name="webhook_create"),
    path("webhooks/signature", signatures.Check.as_view(), name="signature"),
    path("webhooks/deliveries/<id>", deliveries.Detail.as_view(), name="delivery"),
    path("webhooks/deliveries/<id>/resend", deliveries.Resend.as_view(), name="delivery_resend"),
    path("webhooks/<id>", webhooks.Detail.as_view(), name="webhook"),
    path("webhooks/<id>/change", webhook_create.Change.as_view(), name="webhook_change"),
    path("webhooks/<id>/rotate", webhook_changes.Rotate.as_view(), name="webhook_rotate"),
    path("webhooks/<id>/switch", webhook_changes.Switch.as_view(), name="webhook_switch"),
    path("webhooks/<id>/replay", webhook_changes.Replay.as_view(), name="webhook_replay"),
    path("webhooks/<id>/test", webhooks.Test.as_view(), name="webhook_test"),
    path("webhooks/<id>/delete", webhooks.Delete.as_view(), name="webhook_delete"),
]
palette.offer(
    palette.Place(
        "webhooks:webhooks", "Webhooks", "webhook", "webhooks:read", "Develop", "w", "endpoints events hooks"
    ),
    palette.Place(
        "webhooks:signature", "Signature checker", "shield-check", "webhooks:read", words="webhook verify hmac secret"
    ),
    palette.action("webhooks:webhook_create", "Add webhook", "webhooks:write", "Develop"),
)
