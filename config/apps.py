"""Registers the composition root as an app, for its management commands and its system checks."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    label = "config"
