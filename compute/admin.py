from django.contrib import admin, messages

from compute.actions import instances
from compute.models import Instance, Node, SshKey
from core.admin import ReadOnly
from core.errors import LambdaError


@admin.register(Instance)
class InstanceAdmin(ReadOnly):
    list_display = ["name", "public_id", "account", "state", "desired_state", "instance_type", "region", "public_ip"]
    list_filter = ["state", "region", "instance_type"]
    list_select_related = ["account"]
    search_fields = ["name", "public_ip", "account__name"]
    exclude = ["user_data"]
    actions = ["stop", "start"]

    @admin.action(description="Stop", permissions=["view"])
    def stop(self, request, queryset):
        self._each(request, queryset, instances.stop)

    @admin.action(description="Start (also after an error)", permissions=["view"])
    def start(self, request, queryset):
        self._each(request, queryset, instances.start)

    def _each(self, request, queryset, verb):
        for instance in queryset.select_related("account"):
            try:
                verb(instance=instance, by=request.user.actor)
            except LambdaError as refused:
                messages.error(request, f"{instance.name}: {refused.message}")


@admin.register(SshKey)
class SshKeyAdmin(ReadOnly):
    list_display = ["name", "account", "fingerprint", "created_at"]
    list_select_related = ["account"]
    search_fields = ["name", "fingerprint", "account__name"]


@admin.register(Node)
class NodeAdmin(ReadOnly):
    list_display = ["name", "ok", "tier", "os", "reason", "seen_at"]
