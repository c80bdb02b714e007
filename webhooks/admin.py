from django.contrib import admin

from core.admin import ReadOnly
from webhooks.actions import deliveries, endpoints
from webhooks.models import Attempt, Cursor, Delivery, Endpoint


@admin.register(Endpoint)
class EndpointAdmin(ReadOnly):
    list_display = ["url", "public_id", "account", "state", "failing_since", "failures", "created_at"]
    list_filter = ["state"]
    list_select_related = ["account"]
    search_fields = ["url", "account__name"]
    actions = ["enable", "disable"]

    def offers(self, action, row):
        return row.state == {"enable": "disabled", "disable": "active"}[action]

    @admin.action(description="Enable", permissions=["operate"])
    def enable(self, request, queryset):
        self.carry_out(
            request,
            queryset.exclude(state="deleted"),
            lambda row: endpoints.enable(endpoint=row, by=request.user.actor),
            "It is enabled.",
        )

    @admin.action(description="Disable (what waits is kept)", permissions=["operate"])
    def disable(self, request, queryset):
        self.carry_out(
            request,
            queryset.exclude(state="deleted"),
            lambda row: endpoints.update(endpoint=row, by=request.user.actor, status="disabled"),
            "It is disabled.",
        )


class AttemptInline(admin.TabularInline):
    model = Attempt
    extra = 0
    can_delete = False
    fields = ["number", "at", "url", "status", "error", "duration_ms", "response_body"]
    readonly_fields = ["number", "at", "url", "status", "error", "duration_ms", "response_body"]

    def has_add_permission(self, request, obj=None):
        return False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ["public_id", "event_type", "endpoint", "state", "attempts", "last_status", "next_attempt_at"]
    list_filter = ["state", "event_type"]
    list_select_related = ["endpoint"]
    search_fields = ["endpoint__url", "event_id"]
    inlines = [AttemptInline]
    actions = ["send_again"]

    @admin.action(description="Send again", permissions=["operate"])
    def send_again(self, request, queryset):
        self.carry_out(
            request,
            queryset.select_related("endpoint__account"),
            lambda row: deliveries.redeliver(delivery=row, account=row.endpoint.account, by=request.user.actor),
            "It is being sent again.",
        )


@admin.register(Cursor)
class CursorAdmin(ReadOnly):
    list_display = ["id", "event_seq"]
