"""Registers the composition root as an app, for its commands, its system checks, and what operators watch."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    label = "config"

    def ready(self) -> None:
        from config import checks, errors, queue  # noqa: F401  (registers them)

        errors.remember()
