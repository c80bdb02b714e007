"""`manage.py lock`: rewrite the hashed requirements*.txt from pyproject.toml. Needs uv."""

import shutil
import subprocess
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

# No host may stand in the files: whoever installs chooses the index.
COMPILE = ["uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header", "-q"]
COMPILE += ["--no-emit-index-url", "--no-emit-find-links"]
FILES = {"requirements.txt": [], "requirements-dev.txt": ["--group", "dev"]}


class Command(BaseCommand):
    help = "Rewrite requirements.txt and requirements-dev.txt from pyproject.toml."
    requires_system_checks = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")

    def handle(self, *, upgrade: bool, **_: Any) -> None:
        if not shutil.which("uv"):
            raise CommandError("uv is needed to resolve the requirements: pip install uv")
        for file, group in FILES.items():
            command = [*COMPILE, *group, *(["--upgrade"] if upgrade else []), "pyproject.toml", "-o", file]
            if subprocess.run(command, cwd=settings.BASE_DIR).returncode:
                raise CommandError(f"{file} could not be resolved; see above.")
