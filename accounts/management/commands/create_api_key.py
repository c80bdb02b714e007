from django.core.management.base import BaseCommand, CommandError

from accounts.actions import api_keys
from accounts.models import Account, Membership
from core.context import SYSTEM, acting
from core.errors import LambdaError


class Command(BaseCommand):
    help = "Make an API key of the account's owner. Prints the key, once, and nothing else."

    def add_arguments(self, parser):
        parser.add_argument("account", help="the account's id or name")
        parser.add_argument("--name", required=True)
        parser.add_argument("--scopes", default="*", help="separated by commas or spaces, e.g. 'instances:* catalog:read'")

    def handle(self, *args, account, name, scopes, **options):
        owner = (
            Membership.objects.filter(account=self._find(account), role=Membership.Role.OWNER)
            .select_related("account__plan", "user")
            .order_by("id")
            .first()
        )
        if owner is None:
            raise CommandError(f"{account} has no owner to make a key for")
        try:
            with acting(through="cli"):
                _, secret = api_keys.create(
                    account=owner.account,
                    by=SYSTEM,
                    maker=owner.user,
                    name=name,
                    scopes=scopes.replace(",", " ").split(),
                    grantable=owner.scopes,
                )
        except LambdaError as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(secret.key)

    def _find(self, text: str) -> Account:
        try:
            found = list(Account.objects.filter(pk=Account.key(text)))
        except ValueError:
            found = list(Account.objects.filter(name=text)[:2])
        if len(found) != 1:
            raise CommandError(f"There is no account '{text}'" if not found else f"Several accounts are named '{text}': use the id")
        return found[0]
