from django.contrib import admin

from core.admin import ReadOnly, account_of, badge
from functions.models import Execution, Function, FunctionVersion, JournalCursor, Rollup, Runner


@admin.register(Function)
class FunctionAdmin(ReadOnly):
    list_display = [
        "name", "public_id", account_of, "status", "runtime", "live", "newest", "memory_mb", "attempts",
        "last_executed_at", "created_at",
    ]  # fmt: skip
    list_filter = ["state"]
    list_select_related = ["account"]
    search_fields = ["name", "account__name"]
    search_help_text = "A function's or an account's name, or a FUNC_ id."
    exclude = ["sealed_secrets", "env"]

    @admin.display(description="state", ordering="state")
    def status(self, function):
        return badge(function.state)


@admin.register(FunctionVersion)
class FunctionVersionAdmin(ReadOnly):
    list_display = ["function", "number", "state", "runtime", "handler", "code_size", "init_ms", "created_at"]
    list_filter = ["state"]
    list_select_related = ["function"]
    search_fields = ["function__name"]
    exclude = ["sealed_secrets", "env"]
    raw_id_fields = ["code"]


@admin.register(Execution)
class ExecutionAdmin(ReadOnly):
    """By its key alone: an index for each column would cost every execution."""

    list_display = ["public_id", account_of, "status", "trigger", "attempt", "duration_us", "cold_start", "started_at"]
    list_filter = ["status", "trigger"]
    exclude = ["event", "answer", "key_digest", "key_fingerprint"]


@admin.register(Rollup)
class RollupAdmin(ReadOnly):
    list_display = ["hour", "function_id", account_of, "executions", "failed", "cold_starts", "billed_ms", "mb_ms"]
    date_hierarchy = "hour"


@admin.register(JournalCursor)
class JournalCursorAdmin(ReadOnly):
    list_display = ["runner", "segment", "offset", "holder", "leased_until", "read_at"]


@admin.register(Runner)
class RunnerAdmin(ReadOnly):
    list_display = ["name", "ok", "reason", "seen_at"]
