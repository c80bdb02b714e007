from django.contrib import admin
from django.db.models import Q

from billing.models import UsageSpan
from core import ids
from core.admin import ReadOnly, account_of


@admin.register(UsageSpan)
class UsageSpanAdmin(ReadOnly):
    list_display = ["sku", account_of, "resource", "quantity", "rate", "memory_gb", "used_from", "used_to"]
    list_filter = [("used_to", admin.EmptyFieldListFilter)]
    ordering = ["-used_from"]
    search_fields = ["sku"]
    search_help_text = "An sku, or the id of what was used or of its account."

    def get_search_results(self, request, queryset, search_term):
        text = search_term.strip()
        try:
            key = ids.decode(text.partition("_")[0], text)
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(resource=key) | Q(account_id=key)), False
