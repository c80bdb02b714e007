"""What every catalogue entry has: a slug that the API shows, other names it answers to, and whether it is on sale."""

from typing import Any, Self

from django.db import models

from core import epoch


class Reads(models.QuerySet[Any]):
    def on_sale(self) -> Self:
        return self.filter(on_sale=True)

    def offered(self) -> list[Any]:
        """What `on_sale` would read, in its order, without a query: what the process remembers."""
        return list(dict.fromkeys(_by_name(self.model).values()))

    def named(self, text: str) -> Any:
        """The entry on sale with this slug or alias, or None."""
        return _by_name(self.model).get(text)


@epoch.remembered
def _by_name(model: type[models.Model]) -> dict[str, models.Model]:
    """The catalogue is small and read with every create: a process remembers it until it is edited."""
    entries: list[Any] = list(model._default_manager.filter(on_sale=True))
    return {name: entry for entry in entries for name in (entry.slug, *entry.aliases)}


class Entry(models.Model):
    slug = models.SlugField(
        max_length=48, unique=True, help_text="The name in the API. Never change it: instances keep it."
    )
    name = models.CharField(max_length=100)
    aliases = models.JSONField(default=list, blank=True, help_text='Other names it answers to, e.g. ["us-east"].')
    on_sale = models.BooleanField(default=True, help_text="Off: nothing new can be made with it; what exists stays.")
    position = models.PositiveSmallIntegerField(default=0, help_text="Order in lists.")

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        abstract = True
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def names(cls) -> dict[str, str]:
        """Every name that an entry answers to, on sale or not, and its slug."""
        rows = cls._default_manager.values_list("slug", "aliases")
        return {name: slug for slug, aliases in rows for name in (slug, *aliases)}
