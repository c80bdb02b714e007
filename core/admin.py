from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from core import epoch
from core.models import Counter, Event, Resource


class Binding(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's own takes none when it runs
    """What is changed here binds the next request of every process, which may remember what it read before."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        transaction.on_commit(epoch.advance)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(epoch.advance)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        transaction.on_commit(epoch.advance)


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
