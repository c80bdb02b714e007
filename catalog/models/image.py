"""What an instance starts from. The local driver maps every image to the host's own userland and says so in `os`."""

from django.db import models

from catalog.models.entry import Entry


class Image(Entry):
    distribution = models.CharField(max_length=32)
    release = models.CharField(max_length=32)
