"""Where things run: the AWS region codes, so that existing tools feel at home."""

from django.db import models

from catalog.models.entry import Entry


class Region(Entry):
    country = models.CharField(max_length=2, help_text="ISO 3166 code.")
