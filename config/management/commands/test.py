"""`manage.py test`: pytest with this project's configuration. Whatever pytest understands may follow."""

import os
import sys
from typing import Any

from django.core.management import BaseCommand

FAST = ["-m", "not slow and not browser"]


class Command(BaseCommand):
    help = (
        "Run the tests: all, or with --fast those that take no more than about two minutes. Takes pytest's arguments."
    )
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Past Django's argument parser, which would refuse pytest's options."""
        self.execute(arguments=argv[2:])

    def execute(self, *_: Any, arguments: list[str], **__: Any) -> None:
        """Become pytest. A new process, because this one has read the settings of a real installation."""
        chosen = [argument for argument in arguments if argument != "--fast"]
        fast = FAST if "--fast" in arguments else []
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        os.execve(sys.executable, [sys.executable, "-m", "pytest", "-n", "auto", *fast, *chosen], environment)
