#!/usr/bin/env python3
"""The one door: `python3 manage.py up | test | lint`, and every Django command.

Needs nothing but Python: before anything else it makes `.venv` from the hashed requirements and starts itself again
inside. That part uses the standard library alone and speaks on stderr. LAMBDA_NO_BOOTSTRAP=1 switches it off.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DEVELOPMENT = ("test", "lint", "lock")  # commands that need the development requirements as well


def main() -> None:
    if sys.version_info < (3, 11):
        start_newer_python()
    foreign_venv = sys.prefix != sys.base_prefix and Path(sys.prefix).resolve() != VENV
    if os.environ.get("LAMBDA_NO_BOOTSTRAP") != "1" and not foreign_venv:
        bootstrap(development=sys.argv[1:2] != [] and sys.argv[1] in DEVELOPMENT)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        stop(f"{sys.executable} has no Django. Leave this environment (deactivate) or: pip install -r requirements.txt")
    execute_from_command_line(sys.argv)


def bootstrap(development: bool) -> None:
    """Bring `.venv` up to the requirements, then go on inside it. Costs two small reads when nothing has changed."""
    name = "requirements-dev.txt" if development else "requirements.txt"
    digest = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
    stamp = VENV / (name + ".installed")
    if not installed(stamp, digest):
        lock = wait_for_other_bootstraps()
        if not installed(stamp, digest):
            make_venv()
            install(ROOT / name)
            stamp.write_text(digest)
        os.close(lock)
    if Path(sys.prefix).resolve() != VENV:
        os.execv(PYTHON, [str(PYTHON), *sys.argv])


def installed(stamp: Path, digest: str) -> bool:
    try:
        return stamp.read_text() == digest and os.access(PYTHON, os.X_OK)
    except OSError:
        return False


def wait_for_other_bootstraps() -> int:
    """Two commands started at once must not install into each other's feet. Returns the descriptor of the lock."""
    import fcntl

    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Waiting for another manage.py that is installing …")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def make_venv() -> None:
    """Make `.venv`, or mend one that an interruption left half made."""
    uv = find_uv()
    if os.access(PYTHON, os.X_OK) and (uv or run(PYTHON, "-m", "pip", "--version").returncode == 0):
        return
    say(f"Making {VENV} …")
    base = getattr(sys, "_base_executable", sys.executable)
    make = [uv, "venv", "-q", "--python", base, VENV] if uv else [base, "-m", "venv", VENV]
    shutil.rmtree(VENV, ignore_errors=True)
    made = run(*make)
    if made.returncode and "ensurepip" in made.stdout:  # Debian and Ubuntu keep that part of Python in a package
        package = f"python3.{sys.version_info.minor}-venv"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            stop(f"Python's venv module is missing. Install it, then start again:\n  sudo apt-get install -y {package}")
        say(f"Installing {package} …")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if run("apt-get", "install", "-qy", package, env=environment).returncode:
            run("apt-get", "update", "-q", env=environment)
            run("apt-get", "install", "-qy", package, env=environment)
        made = run(*make)
    if made.returncode:
        stop(f"{VENV} could not be made. If it belongs to somebody else, remove it.\n{made.stdout.strip()}")


def install(requirements: Path) -> None:
    """Install exactly the hashed versions; uv where there is one, as it needs a tenth of pip's time."""
    say(f"Installing {requirements.name} …")
    uv = find_uv()
    arguments = ["--require-hashes", "-r", str(requirements)]
    if uv and run(uv, "pip", "install", "-q", "--python", PYTHON, *arguments).returncode == 0:
        return
    run(PYTHON, "-m", "ensurepip")  # what uv made has no pip
    done = run(PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", *arguments)
    if done.returncode:
        stop(f"The packages could not be installed; a package index must be in reach.\n{done.stdout.strip()}")


def find_uv() -> "str | None":
    """uv on the PATH, if it works: version managers leave shims that do not."""
    uv = shutil.which("uv")
    return uv if uv and run(uv, "--version").returncode == 0 else None


def run(*command: "str | Path", env: "dict[str, str] | None" = None) -> "subprocess.CompletedProcess[str]":
    words = [str(word) for word in command]
    out, err = subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, env=env)


def start_newer_python() -> None:
    for minor in (14, 13, 12, 11):
        python = shutil.which(f"python3.{minor}")
        if python:
            os.execv(python, [python, *sys.argv])
    version = "{}.{}".format(*sys.version_info)
    stop(f"Lambda needs Python 3.11 or newer; this is {version}, and there is no newer one on the PATH.")


def say(words: str) -> None:
    print(f"λ  {words}", file=sys.stderr, flush=True)


def stop(words: str) -> None:
    say(words)
    sys.exit(1)


if __name__ == "__main__":
    main()
