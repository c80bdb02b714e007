from django import forms
from django.contrib import admin
from django.db import models

from catalog.actions import entries
from catalog.models import Image, InstanceType, Plan, Price, Region
from core.admin import Operated


class Sold(Operated):
    """What is sold here, changed by verbs."""

    def save_model(self, request, obj, form, change):
        entries.save(entry=obj, by=request.user.actor)

    def delete_model(self, request, obj):
        entries.delete(entry=obj, by=request.user.actor)

    def delete_queryset(self, request, queryset):
        for entry in queryset:
            self.delete_model(request, entry)


class EntryAdmin(Sold):
    search_fields = ["slug", "name", "aliases"]

    def get_readonly_fields(self, request, obj=None):
        return ["slug"] if obj else []


@admin.register(Region)
class RegionAdmin(EntryAdmin):
    list_display = ["slug", "name", "country", "on_sale", "position"]


@admin.register(Image)
class ImageAdmin(EntryAdmin):
    list_display = ["slug", "name", "distribution", "release", "on_sale", "position"]


@admin.register(InstanceType)
class InstanceTypeAdmin(EntryAdmin):
    list_display = ["slug", "family", "vcpus", "memory_mb", "disk_gb", "on_sale", "position"]
    list_filter = ["family", "on_sale"]


@admin.register(Plan)
class PlanAdmin(EntryAdmin):
    list_display = ["slug", "requests_per_hour", "burst", "max_instances", "max_vcpus", "on_sale", "position"]


@admin.register(Price)
class PriceAdmin(Sold):
    """Price versions are added, never changed: invoices point at them."""

    list_display = ["sku", "unit_price", "currency", "unit", "effective_from"]
    list_filter = ["sku"]
    # One field: Django's two share one label, which then names neither.
    formfield_overrides = {
        models.DateTimeField: {
            "form_class": forms.DateTimeField,
            "widget": forms.DateTimeInput,
            "help_text": "UTC, as 2026-12-01 00:00.",
        }
    }

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
