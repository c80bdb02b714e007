"""Which packages of this machine an instance gets, and which files they are: the questions to dpkg."""

import re
import subprocess
from collections.abc import Iterable

from node import errors

WANTED = """
apt base-files base-passwd bash bash-completion bzip2 ca-certificates coreutils curl dash debianutils
diffutils dpkg file findutils git gpgv grep gzip hostname htop iproute2 iputils-ping jq less libc-bin login
lsof make mawk nano ncurses-base ncurses-bin ncurses-term net-tools netcat-openbsd openssh-client openssh-
sftp-server openssl passwd patch perl procps psmisc python3 python3-pip python3-venv python3-setuptools rsync
screen sed strace sysvinit-utils tar time tmux tree tzdata unzip util-linux mount vim vim-tiny wget xz-utils
zip zstd
""".split()


def choose() -> dict[str, str]:
    """The installed packages of WANTED, the essential ones and all that they depend on, with their versions.

    Raises errors.Unsupported on a machine that is not built from Debian packages.
    """
    fields = "Package Architecture Version Essential Provides Pre-Depends Depends db:Status-Status".split()
    query = ["dpkg-query", "-W", "-f", "\t".join("${" + field + "}" for field in fields) + "\n"]
    try:
        output = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise errors.Unsupported(
            "This machine is not built from Debian packages, from which instances get their system. "
            "Run the node on Debian or Ubuntu."
        ) from None
    installed: dict[str, list[str]] = {}
    providers: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, *rest = line.split("\t")
        if len(rest) == 7 and rest[6] == "installed":
            # Of a package in several architectures the native one is listed with its libraries first; keep the first.
            installed.setdefault(name, rest)
            for provided in names(rest[3]):
                providers.setdefault(provided, []).append(name)
    found: dict[str, str] = {}
    todo = [name for name, rest in installed.items() if name in WANTED or rest[2] == "yes"]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        architecture, version, _, _, before, depends, _ = installed[name]
        found[name] = f"{architecture} {version}"
        for wanted in names(f"{before}, {depends}"):
            todo += [wanted] if wanted in installed else providers.get(wanted, [])
    return found


def names(relation: str) -> list[str]:
    """The package names of a dependency field: all alternatives, without versions."""
    found = (re.match(r"[a-z0-9][a-z0-9+.-]*", part.strip()) for part in re.split(r"[,|]", relation))
    return [match.group() for match in found if match]


def files(found: Iterable[str]) -> list[str]:
    """Every path that the packages own, as `dpkg -L` lists them."""
    output = subprocess.run(["dpkg", "-L", *found], check=True, capture_output=True, text=True).stdout
    return [line for line in output.splitlines() if line.startswith("/") and line != "/."]
