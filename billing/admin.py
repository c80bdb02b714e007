from django.contrib import admin

from billing.models import UsageSpan
from core.admin import ReadOnly


@admin.register(UsageSpan)
class UsageSpanAdmin(ReadOnly):
    list_display = ["sku", "resource", "quantity", "rate", "used_from", "used_to"]
    list_filter = ["sku"]
    search_fields = ["resource", "account_id"]
