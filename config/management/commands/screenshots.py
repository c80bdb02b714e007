"""`manage.py screenshots`: pictures of every page, and the README's."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

CHROMIUM = Path("/usr/bin/chromium")


class Command(BaseCommand):
    help = "Take pictures of every page in light and dark, at 1280 and 390 pixels, with demo data of their own."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", nargs="?", help="where they go; without it the README's picture alone is taken")
        parser.add_argument("--only", default="", metavar="WORD", help="pages whose file name contains this")

    def handle(self, *, folder: str | None, only: str, **_: Any) -> None:
        if importlib.util.find_spec("playwright") is None:
            raise CommandError("Playwright is missing: pip install --require-hashes -r requirements-dev.txt")
        if not CHROMIUM.exists():
            raise CommandError("Chromium is missing: apt-get install chromium")
        arguments = [str(Path(folder).absolute()), only] if folder else []
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, [sys.executable, "-m", "tests.walk.screenshots", *arguments])
