"""Every address: `/v1` is each app's `v1` list, the dashboard is each app's `dashboard` list."""

from django.contrib import admin
from django.urls import include, path

import accounts.urls
import catalog.urls
import compute.urls
from config import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("v1/", include([*catalog.urls.v1, *accounts.urls.v1, *compute.urls.v1])),
    path("", include([*catalog.urls.dashboard, *accounts.urls.dashboard, *compute.urls.dashboard])),
]
