"""What the settings read from the environment, and the secrets that a machine makes for itself."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config import env

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_processes_that_start_at_once_agree_on_a_secret(tmp_path):
    code = "from pathlib import Path; from sys import argv; from config import env; "
    code += "print(env.secret('A_KEY', Path(argv[1]), generate=True))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "secrets")], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    answers = {process.communicate()[0] for process in started}
    assert len(answers) == 1
    assert len(answers.pop().strip()) >= 32
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["a_key"]


def test_a_secret_can_be_read_by_its_owner_alone(tmp_path):
    env.secret("A_KEY", tmp_path / "secrets", generate=True)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "secrets" / "a_key").stat().st_mode) == 0o600


def test_production_never_makes_a_secret(tmp_path):
    assert env.secret("A_KEY", tmp_path, generate=False) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_secret_comes_from_its_variable_before_its_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("from the file\n")
    monkeypatch.setenv("A_KEY_FILE", str(tmp_path / "file"))
    assert env.secret("A_KEY", tmp_path, generate=True) == "from the file"
    monkeypatch.setenv("A_KEY", "from the variable")
    assert env.secret("A_KEY", tmp_path, generate=True) == "from the variable"


def test_a_value_that_cannot_be_read_says_what_is_allowed(monkeypatch):
    monkeypatch.setenv("A_FLAG", "perhaps")
    with pytest.raises(SystemExit, match=r"A_FLAG='perhaps' cannot be used: it must be 1 or 0\."):
        env.flag("A_FLAG", default=False)
    monkeypatch.setenv("A_CHOICE", "none")
    with pytest.raises(SystemExit, match=r"it must be one of local, fake\."):
        env.choice("A_CHOICE", ("local", "fake"))


@pytest.mark.parametrize("wrong", ["localhost", "10.1.2.3/16", "10.1.0.0/33"])
def test_of_the_networks_that_webhooks_may_reach_the_wrong_one_is_named(monkeypatch, wrong):
    monkeypatch.setenv("A_LIST", f"loopback, {wrong}, 10.1.0.0/16")
    with pytest.raises(SystemExit) as refused:
        env.targets("A_LIST")
    value, _, told = str(refused.value).partition(" cannot be used: ")
    assert value.startswith("A_LIST=")
    assert told.startswith("it must be networks such as 10.1.0.0/16, and the word loopback (")
    assert wrong in told


def test_without_a_url_the_database_is_sqlite_that_never_fails_with_database_is_locked(tmp_path, monkeypatch):
    monkeypatch.delenv("A_URL", raising=False)
    database = env.database("A_URL", tmp_path / "file")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]


def test_a_postgres_url_may_carry_escaped_characters_and_options(tmp_path, monkeypatch):
    monkeypatch.setenv("A_URL", "postgres://al%40ice:p%2Fw@db.example:5433/lam?sslmode=require")
    database = env.database("A_URL", tmp_path)
    assert (database["USER"], database["PASSWORD"]) == ("al@ice", "p/w")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example", "5433", "lam")
    assert database["OPTIONS"]["sslmode"] == "require"


def test_an_unknown_database_is_refused_without_printing_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("A_URL", "mysql://root:hidden@db/lam")
    with pytest.raises(SystemExit) as refused:
        env.database("A_URL", tmp_path)
    assert "postgres://" in str(refused.value)
    assert "hidden" not in str(refused.value)
