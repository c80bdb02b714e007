"""What an account may do: its request rate and its quotas."""

from django.db import models

from catalog.models.entry import Entry


class Plan(Entry):
    requests_per_hour = models.PositiveIntegerField()
    burst = models.PositiveIntegerField(help_text="How many of them may come at once.")
    max_instances = models.PositiveIntegerField()
    max_vcpus = models.PositiveIntegerField()
    max_ssh_keys = models.PositiveIntegerField()
    max_api_keys = models.PositiveIntegerField()
    max_functions = models.PositiveIntegerField(default=0)
    max_concurrency = models.PositiveIntegerField(default=0, help_text="Executions of all functions at once.")
    monthly_price = models.DecimalField(max_digits=12, decimal_places=2, default=0, help_text="USD")
