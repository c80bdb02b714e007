"""Public SSH keys of an account."""

from typing import Any, Self

from django.db import models

from accounts.models import Account
from core import db
from core.models import Row


class Reads(models.QuerySet["SshKey"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account)

    def all_of(self, account: Account) -> list["SshKey"]:
        """What `for_account` would read, without building the query anew for every create."""
        sql = f"SELECT {db.columns(SshKey, 'k')} FROM compute_sshkey AS k WHERE k.account_id = %s ORDER BY k.id DESC"
        return db.fetch(SshKey, sql, [account.pk])


class SshKey(Row):
    prefix = "key"
    kind = "ssh_key"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=100)
    public_key = models.TextField(help_text="One OpenSSH line: type, key and comment.")
    fingerprint = models.CharField(max_length=64, help_text="SHA256:…, as ssh-keygen -l prints it.")

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "SSH key"
        constraints = [models.UniqueConstraint(fields=["account", "fingerprint"], name="ssh_key_once")]
        indexes = [models.Index(fields=["account", "-id"], name="ssh_key_account")]

    def __str__(self) -> str:
        return self.name

    def event_data(self) -> dict[str, Any]:
        return {"ssh_key_id": self.public_id, "name": self.name, "status": "active", "fingerprint": self.fingerprint}
