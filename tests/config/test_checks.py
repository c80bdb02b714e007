"""Each production mistake is found by the check that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks

from config.management.commands.lint import production

ROOT = Path(__file__).resolve().parents[2]

SOUND = {
    "SECRET_KEY": "s" * 40,
    "LAMBDA_KEY_PEPPER": b"p" * 40,
    "LAMBDA_TOKEN_KEYS": ["t" * 40],
    "LAMBDA_BASE_URL": "https://lambda.example",
    "LAMBDA_REQUIRE_HTTPS": True,
    "LAMBDA_TRUSTED_PROXIES": ["10.0.0.0/24"],
    "ALLOWED_HOSTS": ["lambda.example"],
    "LAMBDA_REDIS_URL": "redis://localhost/0",
    "CELERY_BROKER_URL": "redis://localhost/1",
    "LAMBDA_DRIVER": "local",
    "LAMBDA_RUNNER": "local",
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
}


@pytest.fixture(autouse=True)
def postgresql(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")


def found(settings, **mistakes) -> set[str]:
    for name, value in {**SOUND, **mistakes}.items():
        setattr(settings, name, value)
    messages = checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True)
    assert all(message.hint for message in messages if message.id.startswith("config."))
    return {message.id for message in messages if message.id.startswith("config.")}


def test_a_sound_installation_has_nothing_to_mend(settings):
    assert found(settings) == set()


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        ({"SECRET_KEY": ""}, "config.E001"),
        ({"SECRET_KEY": "short"}, "config.E001"),
        ({"LAMBDA_KEY_PEPPER": b""}, "config.E002"),
        ({"LAMBDA_TOKEN_KEYS": []}, "config.E012"),
        ({"LAMBDA_TOKEN_KEYS": ["t" * 40, "short"]}, "config.E012"),
        ({"LAMBDA_BASE_URL": "http://lambda.example"}, "config.E004"),
        ({"LAMBDA_BASE_URL": "https://localhost"}, "config.E004"),
        ({"LAMBDA_REQUIRE_HTTPS": False}, "config.E005"),
        ({"LAMBDA_TRUSTED_PROXIES": []}, "config.W006"),
        ({"ALLOWED_HOSTS": ["*"]}, "config.E007"),
        ({"LAMBDA_DRIVER": "fake"}, "config.E010"),
        ({"LAMBDA_RUNNER": "fake"}, "config.E013"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend"}, "config.W011"),
    ],
)
def test_a_mistake_is_named(settings, mistake, check):
    assert found(settings, **mistake) == {check}


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        ({"LAMBDA_REDIS_URL": ""}, "config.W008"),
        ({"CELERY_BROKER_URL": "folder://localhost"}, "config.W009"),
    ],
)
def test_several_machines_must_share_limits_and_tasks(settings, mistake, check):
    assert found(settings, **mistake) == {check}


def test_sqlite_in_production_is_named_and_then_nothing_need_be_shared(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert found(settings, LAMBDA_REDIS_URL="", CELERY_BROKER_URL="folder://localhost") == {"config.W014"}


def test_a_home_that_everybody_may_read_is_an_error(settings, tmp_path):
    tmp_path.chmod(0o755)
    assert found(settings, LAMBDA_HOME=tmp_path) == {"config.E003"}


@pytest.mark.slow
def test_production_without_secrets_refuses_to_start_and_says_how_to_make_them(tmp_path):
    environment = {**os.environ, **production(str(tmp_path)), "DJANGO_SETTINGS_MODULE": "config.settings"}
    for name in ("LAMBDA_SECRET_KEY", "LAMBDA_KEY_PEPPER", "LAMBDA_TOKEN_KEYS"):
        del environment[name]
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "LAMBDA_SECRET_KEY is missing" in done.stderr
    assert "LAMBDA_KEY_PEPPER is missing" in done.stderr
    assert "LAMBDA_TOKEN_KEYS is missing" in done.stderr
    assert "secrets.token_urlsafe" in done.stderr
