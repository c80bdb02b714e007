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
        parser.add_argument(
            "--scopes", default="*", help="separated by commas or spaces, e.g. 'instances:* catalog:read'"
        )

    def handle(self, *args, account, name, scopes, **options):
        owner = owner_of(account)
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


def owner_of(account: str) -> Membership:
    """The first owner of the account with this id or name. Raises CommandError where there is not exactly one."""
    try:
        found = list(Account.objects.filter(pk=Account.key(account)))
    except ValueError:
        found = list(Account.objects.filter(name=account)[:2])
    if len(found) != 1:
        none, several = f"There is no account '{account}'", f"Several accounts are named '{account}': use the id"
        raise CommandError(several if found else none)
    owners = Membership.objects.filter(account=found[0], role=Membership.Role.OWNER).select_related(
        "account__plan", "user"
    )
    if (owner := owners.order_by("id").first()) is None:
        raise CommandError(f"{account} has no owner to act for")
    return owner
