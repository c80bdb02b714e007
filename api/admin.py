from django.contrib import admin

from api.models import IdempotencyRecord
from core.admin import ReadOnly


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnly):
    list_display = ["created_at", "status"]
    exclude = ["digest", "fingerprint", "sealed_body"]
