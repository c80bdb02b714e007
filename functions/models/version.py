"""Versions: a function as it was deployed, code included. They never change, so going back is as safe as going on."""

from typing import Any, Self

from django.db import models

from accounts.models import Account
from core import ids
from core.models import Row
from functions.models.function import Configuration, Function


class Code(models.Model):
    """A zip, by its hash: the same code is kept once an account. In the database, so that one backup holds it all."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()  # bytes
    archive = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "sha256"], name="code_once")]

    def __str__(self) -> str:
        return self.sha256[:12]


class VersionReads(models.QuerySet["FunctionVersion"]):
    def of(self, function: Function) -> Self:
        """Newest first, without what no list shows."""
        return self.filter(function=function).order_by("-number").defer("sealed_secrets")


class FunctionVersion(Row, Configuration):
    """`state` is building, ready or failed; which of the ready ones is live, the function says."""

    prefix = "fv"
    kind = "function_version"

    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    code = models.ForeignKey(Code, on_delete=models.PROTECT, related_name="versions")
    code_sha256 = models.CharField(max_length=64)
    code_size = models.PositiveIntegerField()  # bytes
    state = models.CharField(max_length=16, default="building")
    init_ms = models.PositiveIntegerField(null=True)
    max_memory_mb = models.PositiveIntegerField(null=True)
    log = models.TextField(blank=True)  # of the build
    error = models.JSONField(null=True)  # {type, message, stack}
    by_name = models.CharField(max_length=200, blank=True)  # who deployed it

    objects = models.Manager.from_queryset(VersionReads)()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["function", "number"], name="function_version_once")]

    def __str__(self) -> str:
        return f"{self.function_id} version {self.number}"

    @property
    def revision_id(self) -> str:
        """What the runner knows it by."""
        return ids.encode(self.prefix, self.pk)

    def take_configuration(self, configuration: dict[str, Any]) -> None:
        for name, value in configuration.items():
            setattr(self, name, value)
