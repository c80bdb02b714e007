"""The app's name for Django."""

from django.apps import AppConfig


class FunctionsConfig(AppConfig):
    name = "functions"
    label = "functions"
