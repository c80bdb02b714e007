from django.core.management.base import BaseCommand, CommandError

from accounts.actions import accounts
from accounts.models import User
from core.context import SYSTEM, acting
from core.db import atomic_write
from core.errors import LambdaError


class Command(BaseCommand):
    help = "Make an account with its owner, who is made too where there is none. Prints the account's id."

    def add_arguments(self, parser):
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, metavar="EMAIL")
        parser.add_argument("--plan", default="free")

    def handle(self, *args, name, owner, plan, **options):
        try:
            with acting(through="cli"), atomic_write():
                user = User.objects.filter(email=owner.lower()).first() or accounts.create_user(email=owner, by=SYSTEM)
                account = accounts.create(name=name, owner=user, plan=plan, by=SYSTEM)
        except LambdaError as refused:
            raise CommandError(f"{refused.message} {refused.details or ''}") from refused
        self.stdout.write(account.public_id)
