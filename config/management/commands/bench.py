"""`manage.py bench`: what we measure, each against a ceiling or a peer in the same run."""

import ast
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

FOLDER = Path(settings.BASE_DIR) / "bench"


class Command(BaseCommand):
    help = "Run one benchmark, or list them. What follows the name goes to the benchmark, e.g. --help."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Past Django's argument parser, which would refuse the benchmark's options."""
        self.execute(arguments=argv[2:])

    def execute(self, *_: Any, arguments: list[str], **__: Any) -> None:
        known = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem != "__init__"}
        if not arguments or arguments[0].startswith("-"):
            for name, path in known.items():
                self.stdout.write(f"{name:16}{(ast.get_docstring(ast.parse(path.read_text())) or '').splitlines()[0]}")
            return
        name, *rest = arguments
        if name not in known:
            sys.exit(f"There is no benchmark '{name}'. There are: {', '.join(known)}")
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, [sys.executable, "-m", f"bench.{name}", *rest])
