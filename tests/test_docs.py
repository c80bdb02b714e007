"""What the documentation says of the code is so: its links, its variables, its commands, and the files in deploy/."""

import os
import re
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe

import pytest
from django.core.management import get_commands

from tests.test_architecture import tracked

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DEPLOY = ROOT / "docs/how-to/deploy.md"
VARIABLE = re.compile(r"\bLAMBDA_[A-Z_]+\b")
INTERNAL = {"LAMBDA_API_KEY"}  # what samples call the reader's own key


def read_by_the_code() -> set[str]:
    """Every variable that something reads from the environment."""
    reads = re.compile(r"""(?:env\.\w+\(|environ\.get\(|environ\[)\s*["'](LAMBDA_[A-Z_]+)""")
    files = [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] not in ("tests", "bench")]
    return {name for path in files for name in reads.findall(path.read_text())} - INTERNAL


def test_every_variable_that_the_code_reads_is_in_the_table_and_no_other():
    table = DEPLOY.read_text().partition("## Every variable")[2]
    assert set(re.findall(r"^\| `(LAMBDA_[A-Z_]+)`", table, re.MULTILINE)) == read_by_the_code()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_no_page_names_a_variable_or_a_command_that_there_is_not(page):
    text = page.read_text()
    known = read_by_the_code() | INTERNAL
    assert {name.removesuffix("_FILE") for name in VARIABLE.findall(text)} <= known
    assert set(re.findall(r"(?:manage\.py|lambda-manage) ([a-z_]+)\b(?=[ \n`])", text)) <= {*get_commands()}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in PAGES if page.name != "README.md" and page.name not in index] == []


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy").glob("*.service")), ids=lambda unit: unit.name)
def test_a_service_starts_a_module_that_there_is(unit):
    text = unit.read_text()
    assert all(line.startswith(("#", "[")) or "=" in line or not line for line in text.splitlines())
    command = re.search(r"^ExecStart=/opt/lambda/\.venv/bin/python -m (\S+)(.*)", text, re.MULTILINE)
    assert find_spec(command[1])
    for module in re.findall(r"\b(config[.\w]*)", command[2]):
        assert find_spec(module)


@pytest.mark.slow
def test_the_environment_file_filled_in_is_a_sound_production_installation(tmp_path):
    """As the shell reads it, in deploy/lambda-manage; systemd reads quotes the same way."""
    filled = re.sub(
        r"^(LAMBDA_\w+)=$",
        lambda line: line[0] + token_urlsafe(48),
        (ROOT / "deploy/environment").read_text(),
        flags=re.MULTILINE,
    )
    filled = filled.replace("/var/lib/lambda", str(tmp_path)).replace("/opt/lambda", str(ROOT))
    (tmp_path / "environment").write_text(filled)
    tmp_path.chmod(0o700)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDA_", "DJANGO_"))}
    command = (
        f'set -ea; . {tmp_path}/environment; exec "{sys.executable}" manage.py check --deploy --fail-level WARNING'
    )
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(VARIABLE.findall(filled)) <= read_by_the_code()


def test_the_backup_of_sqlite_has_what_is_still_in_the_log_of_a_running_database(tmp_path):
    page = (ROOT / "docs/how-to/backup-and-restore.md").read_text()
    command = re.search(r"^python3 -c .*VACUUM.*$", page, re.MULTILINE)[0].removeprefix("python3")
    (tmp_path / "var").mkdir()
    running = sqlite3.connect(tmp_path / "var/lambda.sqlite3", isolation_level=None)
    running.execute("PRAGMA journal_mode=WAL")
    running.execute("CREATE TABLE things (name)")
    running.execute("INSERT INTO things VALUES ('λ')")
    subprocess.run(["bash", "-c", f'"{sys.executable}" {command}'], cwd=tmp_path, check=True)
    running.close()
    copy = sqlite3.connect(tmp_path / "lambda-backup.sqlite3")
    assert copy.execute("SELECT name FROM things").fetchall() == [("λ",)]
    copy.close()
