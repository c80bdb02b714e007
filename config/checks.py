"""Production mistakes as system checks: each says what is wrong and what to do. `manage.py check --deploy` runs all."""

import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

SECRET_LENGTH = 32  # characters
HOW = 'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'


@register(Tags.security)
def secrets_and_home(**_: Any) -> list[CheckMessage]:
    """Run with every command: without these nothing may start."""
    return [*_secrets(), *_home()]


@register(Tags.security, deploy=True)
def deployment(**_: Any) -> list[CheckMessage]:
    return [*_reach(), *_sharing(), *_rest()]


def _secrets() -> Iterator[CheckMessage]:
    for number, name, value in (
        (1, "LAMBDA_SECRET_KEY", _secret_key()),
        (2, "LAMBDA_KEY_PEPPER", settings.LAMBDA_KEY_PEPPER.decode()),
        (12, "LAMBDA_TOKEN_KEYS", min(settings.LAMBDA_TOKEN_KEYS, key=len, default="")),
    ):
        if len(value) < SECRET_LENGTH:
            problem = f"{name} is {'missing' if not value else f'shorter than {SECRET_LENGTH} characters'}."
            yield Error(problem, hint=f"Set {name}, or {name}_FILE to a file with it. {HOW}", id=f"config.E{number:03}")


def _secret_key() -> str:
    try:
        return settings.SECRET_KEY
    except ImproperlyConfigured:  # how Django says that it is empty
        return ""


def _home() -> Iterator[CheckMessage]:
    if stat.S_IMODE(settings.LAMBDA_HOME.stat().st_mode) & 0o007:
        yield Error(
            f"Everybody on this machine can look into {settings.LAMBDA_HOME}, which holds keys.",
            hint=f"chmod o-rwx {settings.LAMBDA_HOME}",
            id="config.E003",
        )


def _reach() -> Iterator[CheckMessage]:
    url = urlsplit(settings.LAMBDA_BASE_URL)
    if url.scheme != "https" or url.hostname in ("localhost", "127.0.0.1", "::1", None):
        yield Error(
            f"LAMBDA_BASE_URL is {settings.LAMBDA_BASE_URL}; links in mails would lead nowhere, or in the clear.",
            hint="Set it to the https:// address under which people reach this installation.",
            id="config.E004",
        )
    if not settings.LAMBDA_REQUIRE_HTTPS:
        yield Error(
            "API keys may cross the network in the clear.",
            hint="Set LAMBDA_MODE=production, and remove LAMBDA_REQUIRE_HTTPS=0.",
            id="config.E005",
        )
    elif not settings.LAMBDA_TRUSTED_PROXIES:
        yield Warning(
            "HTTPS is required, but no proxy is trusted to say that a request came by it: every API call is refused.",
            hint="Set LAMBDA_TRUSTED_PROXIES to the addresses of your TLS proxies, such as 10.0.0.0/24.",
            id="config.W006",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "LAMBDA_ALLOWED_HOSTS allows every Host header; mails could be made to carry links to other sites.",
            hint="Name the hosts, or leave it out: the host of LAMBDA_BASE_URL is allowed.",
            id="config.E007",
        )


def _sharing() -> Iterator[CheckMessage]:
    """PostgreSQL means several machines; then these must be shared as well."""
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Warning(
            "The database is SQLite: for one machine alone, and for one write at a time.",
            hint="Set LAMBDA_DATABASE_URL=postgres://user:password@host/name.",
            id="config.W014",
        )
        return
    if not settings.LAMBDA_REDIS_URL:
        yield Warning(
            "Rate limits and sign-in attempts are counted per machine.",
            hint="Set LAMBDA_REDIS_URL=redis://host/0.",
            id="config.W008",
        )
    if settings.CELERY_BROKER_URL.startswith("folder:"):
        yield Warning(
            "Tasks are handed over in a folder, which workers on other machines do not see.",
            hint="Set LAMBDA_REDIS_URL=redis://host/0, or LAMBDA_BROKER_URL=amqp://… of RabbitMQ.",
            id="config.W009",
        )


def _rest() -> Iterator[CheckMessage]:
    if settings.LAMBDA_DRIVER == "fake":
        yield Error("LAMBDA_DRIVER=fake runs no machines.", hint="Remove it: local is the default.", id="config.E010")
    if settings.LAMBDA_RUNNER == "fake":
        yield Error("LAMBDA_RUNNER=fake runs no code.", hint="Remove it: local is the default.", id="config.E013")
    if settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
        yield Warning(
            f"Mails are written to {settings.EMAIL_FILE_PATH}: nobody who signs up will receive one.",
            hint="Set LAMBDA_MAIL_URL=smtp+tls://user:password@host:587 and LAMBDA_MAIL_FROM.",
            id="config.W011",
        )
