"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import URLPattern, URLResolver, path

from catalog.api.images import Images
from catalog.api.instance_types import InstanceTypes
from catalog.api.plans import Plans
from catalog.api.prices import Prices
from catalog.api.regions import Regions

v1: list[URLPattern | URLResolver] = [
    path("regions", Regions.as_view({"get": "list"})),
    path("regions/<slug>", Regions.as_view({"get": "retrieve"})),
    path("instance-types", InstanceTypes.as_view({"get": "list"})),
    path("instance-types/<slug>", InstanceTypes.as_view({"get": "retrieve"})),
    path("images", Images.as_view({"get": "list"})),
    path("images/<slug>", Images.as_view({"get": "retrieve"})),
    path("plans", Plans.as_view({"get": "list"})),
    path("plans/<slug>", Plans.as_view({"get": "retrieve"})),
    path("prices", Prices.as_view({"get": "list"})),
    path("prices/<sku>", Prices.as_view({"get": "retrieve"})),
]
dashboard: list[URLPattern | URLResolver] = []
