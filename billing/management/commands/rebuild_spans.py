from django.core.management.base import BaseCommand

from billing.actions import spans


class Command(BaseCommand):
    help = "Make all usage spans anew from the meters in the event log. Changes nothing where nothing is wrong."

    def handle(self, *args, **options):
        self.stdout.write(f"{spans.rebuild()} spans")
