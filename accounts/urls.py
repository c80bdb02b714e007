"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import URLPattern, URLResolver

v1: list[URLPattern | URLResolver] = []
dashboard: list[URLPattern | URLResolver] = []
