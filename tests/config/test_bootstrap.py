"""`manage.py` makes its own environment: in a copy of the project's door, with Django alone as the requirement."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys._base_executable  # outside any virtual environment, as a newcomer's

slow = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """manage.py with the hashed lines of Django and what it needs."""
    shutil.copy(ROOT / "manage.py", tmp_path)
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    wanted = [block for block in blocks if re.match(r"(django|asgiref|sqlparse)==", block)]
    assert len(wanted) == 3
    (tmp_path / "requirements.txt").write_text("\n".join(wanted) + "\n")
    return tmp_path


def command(clone: Path, *arguments: str, **environment: str) -> tuple[list[str], dict]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV")
    }
    options = {"env": {**inherited, **environment}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [PYTHON, str(clone / "manage.py"), *arguments], options


def manage(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    line, options = command(clone, *arguments, **environment)
    return subprocess.run(line, **options)


@slow
def test_the_first_command_makes_the_environment_and_the_second_is_silent(clone):
    first = manage(clone, "version")
    assert first.returncode == 0, first.stderr
    assert re.fullmatch(r"5\.2\.\d+\n", first.stdout)  # its own words never mix with a command's output
    assert "Making" in first.stderr
    assert "Installing requirements.txt" in first.stderr
    second = manage(clone, "version")
    assert (second.stdout, second.stderr) == (first.stdout, "")


@slow
def test_without_uv_pip_installs(clone):
    path = Path(PYTHON).parent
    done = manage(clone, "version", PATH=f"{path}:/usr/bin:/bin" if not (path / "uv").exists() else "/usr/bin:/bin")
    assert done.returncode == 0, done.stderr


@slow
def test_commands_started_at_once_install_once(clone):
    line, options = command(clone, "version")
    started = [subprocess.Popen(line, **options) for _ in range(3)]
    answers = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], answers
    assert sum("Installing" in stderr for _, stderr in answers) == 1


@slow
def test_a_half_made_environment_is_mended(clone):
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    done = manage(clone, "version")
    assert done.returncode == 0, done.stderr


@slow
def test_a_package_that_is_not_the_one_that_was_locked_is_refused(clone):
    requirements = clone / "requirements.txt"
    requirements.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, requirements.read_text()))
    done = manage(clone, "version")
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert not list(clone.glob(".venv/*.installed"))


def test_switched_off_it_makes_nothing_and_says_what_is_missing(clone):
    done = manage(clone, "version", LAMBDA_NO_BOOTSTRAP="1", PYTHONNOUSERSITE="1")
    assert not (clone / ".venv").exists()
    if done.returncode:  # this Python may have a Django of its own
        assert "pip install -r requirements.txt" in done.stderr


def test_where_debian_lacks_venv_an_ordinary_user_gets_the_line_that_mends_it(monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("door", ROOT / "manage.py")
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    refusal = subprocess.CompletedProcess(
        [], 1, "The virtual environment was not created because ensurepip is not available"
    )
    monkeypatch.setattr(door, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(door, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(door, "find_uv", lambda: None)
    monkeypatch.setattr(door, "run", lambda *_, **__: refusal)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit):
        door.make_venv()
    assert f"sudo apt-get install -y python3.{sys.version_info.minor}-venv" in capsys.readouterr().err
