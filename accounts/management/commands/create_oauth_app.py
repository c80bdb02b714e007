from django.core.management.base import BaseCommand, CommandError

from accounts.actions import oauth_apps
from accounts.management.commands.create_api_key import owner_of
from core.context import SYSTEM, acting
from core.errors import LambdaError

# As the toolkit names the grants; "public" apps of the first keep no secret.
GRANTS = {"client-credentials": "machine", "authorization-code": "web", "device-code": "device"}


class Command(BaseCommand):
    help = "Register an OAuth app for the account. Prints its client id and secret on one line, once, and nothing else."

    def add_arguments(self, parser):
        parser.add_argument("account", help="the account's id or name")
        parser.add_argument("--name", required=True)
        parser.add_argument("--grant", choices=list(GRANTS), default="client-credentials")
        parser.add_argument("--public", action="store_true", help="an authorization-code app that can keep no secret")
        parser.add_argument("--redirect-uri", action="append", default=[], help="repeat for several")
        parser.add_argument(
            "--scopes", default="*", help="separated by commas or spaces, e.g. 'instances:* events:read'"
        )

    def handle(self, *args, account, name, grant, public, redirect_uri, scopes, **options):
        if public and grant == "client-credentials":
            raise CommandError("A program without people proves itself by its secret: it cannot be --public")
        owner = owner_of(account)
        try:
            with acting(through="cli"):
                app, secret = oauth_apps.create(
                    account=owner.account,
                    by=SYSTEM,
                    maker=owner.user,
                    name=name,
                    sort="native" if public and GRANTS[grant] == "web" else GRANTS[grant],
                    scopes=scopes.replace(",", " ").split(),
                    grantable=owner.scopes,
                    redirect_uris=redirect_uri,
                )
        except LambdaError as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(f"{app.client_id} {secret}".rstrip())
