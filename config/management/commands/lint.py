"""`manage.py lint`: everything about the code that a machine can judge without running it."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

CHECKS = {
    "format": ["-m", "ruff", "format", "--check", "--quiet", "."],
    "ruff": ["-m", "ruff", "check", "--quiet", "."],
    "types": ["-m", "mypy", "."],
    "imports": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
    "deployment": ["manage.py", "check", "--deploy", "--fail-level", "WARNING"],
}


class Command(BaseCommand):
    help = "Check format, lint, types, who imports whom, missing migrations, and the settings as in production."
    requires_system_checks = []

    def handle(self, **_: Any) -> None:
        failed = []
        with tempfile.TemporaryDirectory() as home:
            for name, arguments in CHECKS.items():
                began = time.monotonic()
                environment = production(home) if name == "deployment" else {**os.environ, "LAMBDA_HOME": home}
                done = subprocess.run(
                    [sys.executable, *arguments], cwd=settings.BASE_DIR, env=environment, text=True, capture_output=True
                )
                self.stdout.write(
                    f"{'ok' if not done.returncode else 'FAILED':6} {name} {time.monotonic() - began:.1f} s"
                )
                if done.returncode:
                    failed.append(name)
                    self.stdout.write(done.stdout + done.stderr)
        if failed:
            sys.exit(f"lint: {', '.join(failed)} failed")


def production(home: str) -> dict[str, str]:
    """The environment of a sound production installation: `check --deploy` must find nothing to say about it."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LAMBDA_")},
        "LAMBDA_NO_BOOTSTRAP": "1",
        "LAMBDA_HOME": home,
        "LAMBDA_MODE": "production",
        "LAMBDA_SECRET_KEY": secrets.token_urlsafe(48),
        "LAMBDA_KEY_PEPPER": secrets.token_urlsafe(48),
        "LAMBDA_TOKEN_KEYS": secrets.token_urlsafe(48),
        "LAMBDA_BASE_URL": "https://lambda.example",
        "LAMBDA_TRUSTED_PROXIES": "127.0.0.1/32",
        "LAMBDA_DATABASE_URL": "postgres://lambda@localhost/lambda",
        "LAMBDA_REDIS_URL": "redis://localhost/0",
        "LAMBDA_BROKER_URL": "redis://localhost/1",
        "LAMBDA_MAIL_URL": "smtp+tls://localhost:587",
    }
