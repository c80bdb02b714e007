"""The app's name for Django."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = "Webhooks"

    def ready(self) -> None:
        from webhooks import events, subscribers  # noqa: F401  (declares the event types, takes opt-in ones)
