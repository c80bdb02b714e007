"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from billing.api.usage import Usage

v1 = [path("usage", Usage.as_view({"get": "retrieve"}))]
