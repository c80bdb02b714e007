from django.contrib import admin

from catalog.models import InstanceType, Region
from compute.actions import instances
from compute.models import Instance, Node, SshKey
from core.admin import ReadOnly, account_of, badge, one_of


def _slugs(model):
    return lambda: model.objects.values_list("slug", flat=True)


@admin.register(Instance)
class InstanceAdmin(ReadOnly):
    list_display = [
        "name", "public_id", account_of, "status", "desired_state", "attempts", "instance_type", "region", "public_ip",
        "created_at",
    ]  # fmt: skip
    list_filter = ["state", one_of("region", _slugs(Region)), one_of("instance_type", _slugs(InstanceType))]
    list_select_related = ["account"]
    search_fields = ["name", "public_ip", "account__name"]
    search_help_text = "A name, an address, an account's name, or an inst_ id."
    exclude = ["user_data"]
    actions = ["retry", "start", "stop"]

    @admin.display(description="state", ordering="state")
    def status(self, instance):
        return badge(instance.state)

    def offers(self, action, row):
        if action == "retry":
            return row.state == "error" or row.next_attempt_at is not None
        return row.state in {"start": ("stopped", "error"), "stop": ("running", "starting", "restarting")}[action]

    @admin.action(description="Try again", permissions=["operate"])
    def retry(self, request, queryset):
        self._each(request, queryset, instances.retry, "It is being tried again.")

    @admin.action(description="Start", permissions=["operate"])
    def start(self, request, queryset):
        self._each(request, queryset, instances.start, "It is starting.")

    @admin.action(description="Stop…", permissions=["operate"])
    def stop(self, request, queryset):
        return self.ask(
            request,
            queryset.select_related("account"),
            lambda instance: instances.stop(instance=instance, by=request.user.actor),
            title="Stop",
            note="Its processes are asked to end and its memory is lost; its disk stays. The owner can start it again.",
            done="It is stopping.",
        )

    def _each(self, request, queryset, verb, done):
        rows = queryset.select_related("account")
        self.carry_out(request, rows, lambda instance: verb(instance=instance, by=request.user.actor), done)


@admin.register(SshKey)
class SshKeyAdmin(ReadOnly):
    list_display = ["name", "public_id", account_of, "fingerprint", "created_at"]
    list_select_related = ["account"]
    search_fields = ["name", "fingerprint", "account__name"]


@admin.register(Node)
class NodeAdmin(ReadOnly):
    list_display = ["name", "works", "tier", "os", "reason", "seen_at"]
    search_fields = ["name"]

    @admin.display(description="status")
    def works(self, node):
        return badge("ready" if node.ok else "error", "Ready" if node.ok else "Cannot run instances")
