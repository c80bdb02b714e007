from django.core.management.base import BaseCommand, CommandError

from accounts.models import AuditSeal


class Command(BaseCommand):
    help = "Check the audit log's hash chain: names the first broken row and exits with 1, or prints the chain's head."

    def add_arguments(self, parser):
        parser.add_argument(
            "--anchor",
            metavar="NUMBER:HASH",
            help="a head that an earlier run printed; fails where the chain no longer has it: its end was cut off",
        )

    def handle(self, *args, anchor, **options):
        if broken := AuditSeal.objects.first_broken():
            raise CommandError(f"broken at {broken.number}, event {broken.event}: {broken.why}")
        if anchor:
            number, _, hash = anchor.partition(":")
            if not number.isdigit() or not AuditSeal.objects.filter(number=int(number), hash=hash).exists():
                raise CommandError(f"the chain no longer has {anchor}: its end was cut off, or it was begun anew")
        self.stdout.write(str(AuditSeal.objects.head()))
