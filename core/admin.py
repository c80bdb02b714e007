from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from core.models import Counter, Event, Resource


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's own takes none when it runs
    """Facts: to be read, never edited."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ["seq", "at", "type", "actor_name", "via", "ip", "request_id"]
    list_filter = ["type", "via"]
    search_fields = ["request_id", "actor_id", "actor_name"]


@admin.register(Resource)
class ResourceAdmin(ReadOnly):
    list_display = ["number", "kind", "name", "region", "status", "created_at", "deleted_at"]
    list_filter = ["kind", "status", "region"]
    search_fields = ["name"]


@admin.register(Counter)
class CounterAdmin(ReadOnly):
    list_display = ["account_id", "kind", "count"]
