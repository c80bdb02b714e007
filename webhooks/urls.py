"""Addresses of this app: `v1` (the API), a table of contents."""

from django.urls import path

from webhooks.api.deliveries import Deliveries
from webhooks.api.webhooks import Webhooks

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
