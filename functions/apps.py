from django.apps import AppConfig


class FunctionsConfig(AppConfig):
    name = "functions"
    verbose_name = "Functions"

    def ready(self) -> None:
        from core import usage
        from functions import events  # noqa: F401  (declares the event types)
        from functions.models import rollup

        usage.count(rollup.counted)
