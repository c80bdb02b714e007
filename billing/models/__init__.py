from billing.models.usage_span import UsageSpan

__all__ = ["UsageSpan"]
