"""Every address: `/v1` is each app's `v1` list, the dashboard is each app's `dashboard` list."""

from allauth.account.decorators import reauthentication_required
from allauth.account.views import email
from django.contrib import admin
from django.urls import include, path, re_path

import accounts.urls
import billing.urls
import catalog.urls
import compute.urls
import functions.urls
import webhooks.urls
from accounts.views import sessions
from api import views as api_views
from api.events import Events, EventTypes
from api.openapi import OpenApi
from api.versions import Versions
from config import docs, health, operations, views
from dashboard import palette
from dashboard.styleguide import styleguide

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("docs", docs.docs, name="docs"),
    path("admin/health/", admin.site.admin_view(operations.health_page), name="operators_health"),
    path("admin/", admin.site.urls),
    # Whoever adds an address can reset the password with it: only after proving lately that it is them.
    path("accounts/email/", reauthentication_required(email, app="allauth.account"), name="account_email"),
    path("accounts/sessions/", sessions.List.as_view(), name="usersessions_list"),
    path("accounts/", include("allauth.urls")),
    path(
        "v1/",
        include(
            [
                *compute.urls.v1,
                *catalog.urls.v1,
                *accounts.urls.v1,
                *billing.urls.v1,
                *functions.urls.v1,
                *webhooks.urls.v1,
            ]
        ),
    ),
    path("v1/events", Events.as_view({"get": "list"})),
    path("v1/events/<id>", Events.as_view({"get": "retrieve"})),
    path("v1/event-types", EventTypes.as_view({"get": "list"})),
    path("v1/versions", Versions.as_view({"get": "list"})),
    path("v1/openapi.json", OpenApi.as_view({"get": "retrieve"})),
    re_path("^v1(/|$)", api_views.unknown),
    path("styleguide", styleguide, name="styleguide"),
    path("search", palette.Search.as_view(), name="search"),
    path("", views.Home.as_view(), name="home"),
    path("", include((accounts.urls.dashboard, "accounts"))),
    path("", include((compute.urls.dashboard, "compute"))),
    path("", include((functions.urls.dashboard, "functions"))),
    path("", include((webhooks.urls.dashboard, "webhooks"))),
]

palette.offer(
    palette.Place("home", "Overview", "layout-dashboard", group="Main", key="o", words="home start"),
    palette.Place("docs", "API reference", "book-open", group="Develop", words="docs documentation openapi"),
    palette.Place("mfa_index", "Security", "lock-keyhole", group="Settings", words="passkey 2fa two-factor"),
    palette.Place("account_email", "E-mail addresses", "mail"),
    palette.Place("account_change_password", "Change password", "key-round"),
    palette.Place("usersessions_list", "Sessions", "monitor-smartphone", words="devices browsers signed in"),
)
