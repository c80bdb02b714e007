"""The app's name for Django."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"
    label = "compute"
