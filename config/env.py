"""Typed reading of the environment, and the secrets a machine makes for itself. No Django here: settings import it.

A value that cannot be read stops the process with a sentence that names the variable, its value and what is allowed.
"""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from webhooks.targets import Allowed


class BadEnvironment(SystemExit):
    """The environment asks for something that cannot be; shown without a traceback, exit code 1."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} cannot be used: it must be {allowed}.")


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def choice(name: str, allowed: tuple[str, ...]) -> str:
    """The first of `allowed` is the default."""
    value = text(name, allowed[0])
    if value not in allowed:
        raise BadEnvironment(name, value, "one of " + ", ".join(allowed))
    return value


def flag(name: str, default: bool) -> bool:
    value = text(name, "1" if default else "0").lower()
    if value not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
        raise BadEnvironment(name, value, "1 or 0")
    return value in ("1", "true", "yes", "on")


def words(name: str, default: list[str]) -> list[str]:
    """A list separated by commas or spaces."""
    return text(name).replace(",", " ").split() or default


def targets(name: str) -> Allowed:
    """Where webhooks may be sent: see `webhooks/targets.py`."""
    try:
        return Allowed.parse(words(name, []))
    except ValueError as wrong:
        allowed = f"networks such as 10.1.0.0/16, and the word loopback ({wrong})"
        raise BadEnvironment(name, text(name), allowed) from None


def secret(name: str, directory: Path, *, generate: bool) -> str:
    """The secret from the variable `name`, else from the file that `name`_FILE points to, else from `directory`.

    With `generate` a missing file is made: two processes that start at once agree, because the file appears complete
    under its name or not at all, and the first one wins. Without it the answer is "", and a system check says so.
    """
    if value := text(name):
        return value
    path = Path(text(f"{name}_FILE") or directory / name.lower())
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        if not generate:
            return ""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / f".{name.lower()}.{os.getpid()}.{secrets.token_hex(4)}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48) + "\n")
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave an empty secret under the final name
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its secret is the one
    finally:
        draft.unlink()
    return path.read_text().strip()


def database(name: str, sqlite: Path) -> dict[str, Any]:
    """Django's DATABASES entry: from a postgres:// URL in `name`, else SQLite in the file `sqlite`."""
    url = text(name)
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sqlite,
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # IMMEDIATE, not WAL, is what cures "database is locked": a transaction that read first and writes
                # later fails at once, without waiting for `timeout` (seconds), if another one committed in between.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                "PRAGMA mmap_size=134217728; PRAGMA cache_size=-20000;",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise BadEnvironment(name, f"{parts.scheme}://…", "postgres://user:password@host:port/name")
    patience = {
        "options": "-c lock_timeout=20s",  # as SQLite: a row held for longer is held by something that went wrong
        "connect_timeout": "5",  # seconds
        "tcp_user_timeout": "10000",  # ms until a machine that vanished counts as gone
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": patience | dict(parse_qsl(parts.query)),
    }
