"""The base image: a copy of this machine's own userland, taken from its package lists, that every instance starts from.

Only files that a chosen package owns are copied, plus a white list of /etc and generated accounts. So nothing of /home,
/root, /opt, /srv, /var or a host's secrets can appear in an instance: what is not listed is not there. Built once, in
1-3 s on an idle disk; a change of the host's packages makes a new image, old ones go when no instance stands on them.
"""

import hashlib
import logging
import os
import re
import shutil
import stat
import threading
from pathlib import Path

from node import packages

log = logging.getLogger(__name__)

RECIPE = 1  # raise it when this file makes another image of the same packages
LEFT_OUT = re.compile(
    r"/etc/|/usr/include/|/usr/share/(doc|man|info|locale|lintian|bug)/|/usr/share/zoneinfo/(right|posix)/"
    r"|/usr/share/vim/[^/]+/(doc|lang|spell|tutor)/|/usr/lib/python3[^/]*/(test|lib2to3)/"
)
ETC = """
alternatives bash.bashrc bash_completion bash_completion.d ca-certificates.conf debconf.conf debian_version
default/useradd deluser.conf adduser.conf dpkg environment ethertypes gai.conf inputrc issue issue.net
ld.so.cache ld.so.conf ld.so.conf.d localtime locale.alias locale.conf login.defs ltrace.conf magic magic.mime
mime.types nanorc networks os-release perl profile profile.d protocols python3 python3.11 python3.12
python3.13 rmt rpc services shells skel ssh/moduli ssl/certs ssl/openssl.cnf terminfo timezone vim wgetrc
xattr.conf
""".split()
DIRECTORIES = [
    "dev",
    "etc",
    "home",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr/local/bin",
    "var/tmp",
]
PROXY = "http://127.0.0.1:3128"
USERS = [
    "root:x:0:0:root:/root:/bin/bash",
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
    "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    "lambda:x:1000:1000::/home/lambda:/bin/bash",
]
GROUPS = {"root": 0, "daemon": 1, "adm": 4, "tty": 5, "mail": 8, "www-data": 33, "utmp": 43, "staff": 50}
GROUPS |= {"lambda": 1000, "nogroup": 65534}

SUDO = Path(__file__).with_name("sudo.sh").read_text()
# One id: root of a nested user namespace. A range of ids: the real root of the instance, by a setuid copy of setpriv.
BECOME_MAPPED = "/usr/bin/unshare -r --"
BECOME_REAL = "/usr/local/libexec/become --reuid 0 --regid 0 --init-groups --"


def name_of(found: dict[str, str], owner: int) -> str:
    """The image's directory name: another one for other packages, another owner or another recipe."""
    facts = "\n".join(f"{name} {version}" for name, version in sorted(found.items()))
    return "host-" + hashlib.sha256(f"{RECIPE}\n{owner}\n{facts}".encode()).hexdigest()[:12]


def host_os() -> str:
    """What an instance really runs, e.g. "Debian GNU/Linux 12 (bookworm)"."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            match = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path(path).read_text(), re.M)
        except OSError:
            continue
        if match:
            return match.group(1)
    return "Linux"


def build(images: Path, base: int | None) -> Path:
    """The image of this machine below `images`, built if it is not there. Blocking; `base` as in `Copy`.

    The copy is used before it is safe on the disk, because waiting for that takes longer than copying. Until it is, a
    note says in which boot of the machine it was made: found in a later one, the machine crashed, and it is made again.
    """
    found = packages.choose()
    target = images / name_of(found, base if base is not None else os.geteuid())
    note = images / f".{target.name}.unsafe"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    if target.exists() and note.exists() and note.read_text() != boot:
        shutil.rmtree(target)
    if not target.exists():
        # One name for the unfinished: a build that was cut off is begun again, not added to.
        unfinished = images / ".unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        Copy(unfinished, base).run(found)
        note.write_text(boot)
        unfinished.rename(target)
        log.info("image %s built from %d packages", target.name, len(found))

        def make_safe() -> None:
            os.sync()
            note.unlink(missing_ok=True)

        threading.Thread(target=make_safe, daemon=True).start()
    return target


class Copy:
    """One image being made. `base` is the host's id of the instances' root, or None where all files are the agent's."""

    def __init__(self, root: Path, base: int | None) -> None:
        self.root = root
        self.base = base
        self.made: set[str] = set()
        self.linked: dict[int, Path] = {}  # by inode: files of several names are copied once

    def run(self, found: dict[str, str]) -> None:
        self.root.mkdir(parents=True)
        # Entered by ids that may not pass the directories above; by others never, because those are closed.
        self.root.chmod(0o755)
        for name in DIRECTORIES:
            self.directory("/" + name)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), self.root / name)
        for path in packages.files(found):
            if not LEFT_OUT.match(path):
                self.entry(path)
                if path.startswith("/usr/lib/python3."):
                    # Compiled once by the package's scripts, so not in its list; without it every start compiles.
                    self.tree(f"{path}/__pycache__")
        self.alternatives()
        for name in ETC:
            self.tree(f"/etc/{name}")
        self.dpkg_state(found)
        self.apt()
        self.generated()
        self.own()

    def directory(self, path: str) -> None:
        """The directory and those above it, with the host's modes."""
        if path in self.made or path == "/":
            return
        self.directory(os.path.dirname(path))
        target = self.root / path.lstrip("/")
        if not target.is_dir():
            target.mkdir()
            mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.isdir(path) else 0o755
            target.chmod(mode | 0o700 if self.base is None else mode)
        self.made.add(path)

    def entry(self, path: str) -> None:
        """One file, link or directory. What not everybody on the host may read is left out."""
        parent = os.path.realpath(os.path.dirname(path))
        path = os.path.join(parent, os.path.basename(path))
        target = self.root / path.lstrip("/")
        try:
            facts = os.lstat(path)
        except OSError:
            return  # listed, but removed from the host
        if stat.S_ISDIR(facts.st_mode):
            self.directory(path)
            return
        if os.path.lexists(target):
            return
        self.directory(parent)
        if stat.S_ISLNK(facts.st_mode):
            os.symlink(os.readlink(path), target)
        elif stat.S_ISREG(facts.st_mode) and facts.st_mode & stat.S_IROTH:
            if facts.st_ino in self.linked:
                os.link(self.linked[facts.st_ino], target)
                return
            if facts.st_nlink > 1:
                self.linked[facts.st_ino] = target
            shutil.copyfile(path, target)
            # Without a range of ids there is nobody to become, and group bits never fit: all groups are root's here.
            setuid = stat.S_ISUID if self.base is not None and facts.st_uid == 0 else 0
            os.chmod(target, stat.S_IMODE(facts.st_mode) & (0o777 | setuid))
            os.utime(target, ns=(facts.st_mtime_ns, facts.st_mtime_ns))

    def tree(self, path: str) -> None:
        self.entry(path)
        if os.path.isdir(path) and not os.path.islink(path):
            try:
                children = os.listdir(path)
            except PermissionError:
                return
            for name in children:
                self.tree(f"{path}/{name}")

    def alternatives(self) -> None:
        """The links of update-alternatives, such as awk and vi, which no package's list has."""
        for file in Path("/var/lib/dpkg/alternatives").glob("*"):
            lines = file.read_text(errors="replace").split("\n\n")[0].splitlines()
            for link in lines[1::2]:
                if os.path.islink(link) and (self.root / os.path.realpath(link).lstrip("/")).exists():
                    self.entry(link)

    def dpkg_state(self, found: dict[str, str]) -> None:
        """What dpkg and apt know, cut down to the packages that are here."""
        self.directory("/var/lib/dpkg/info")
        for name in (
            "/var/lib/dpkg/updates",
            "/var/lib/dpkg/parts",
            "/var/lib/apt/lists/partial",
            "/var/cache/apt/archives/partial",
        ):
            (self.root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        stanzas = Path("/var/lib/dpkg/status").read_text(errors="replace").split("\n\n")
        kept = [text for text in stanzas if text.removeprefix("Package: ").split("\n", 1)[0] in found]
        (self.root / "var/lib/dpkg/status").write_text("\n\n".join(kept) + "\n\n")
        (self.root / "var/lib/dpkg/available").touch()
        for file in Path("/var/lib/dpkg/info").iterdir():
            if file.name.rsplit(".", 1)[0].split(":")[0] in found:
                self.entry(str(file))
        for name in ("info/format", "arch", "alternatives"):
            self.tree(f"/var/lib/dpkg/{name}")

    def generated(self) -> None:
        """Accounts, names, the proxy, sudo and the home: never the host's."""
        root = self.root
        write(root / "etc/passwd", USERS)
        write(root / "etc/group", [f"{name}:x:{number}:" for name, number in GROUPS.items()])
        write(root / "etc/shadow", [f"{user.split(':')[0]}:*:19000:0:99999:7:::" for user in USERS], 0o640)
        write(root / "etc/hosts", ["127.0.0.1 localhost", "::1 localhost"])
        write(
            root / "etc/nsswitch.conf",
            [f"{kind}: files" for kind in ("passwd", "group", "shadow", "hosts", "services")],
        )
        become = BECOME_MAPPED
        if self.base is not None:
            become = BECOME_REAL
            (root / "usr/local/libexec").mkdir(parents=True, exist_ok=True)
            shutil.copy("/usr/bin/setpriv", root / "usr/local/libexec/become")
        write(root / "usr/local/bin/sudo", [SUDO.replace("@BECOME@", become)], 0o755)
        if not (root / "etc/mtab").is_symlink():
            os.symlink("../proc/self/mounts", root / "etc/mtab")
        home, skeleton = root / "home/lambda", root / "etc/skel"
        shutil.copytree(skeleton, home, symlinks=True) if skeleton.is_dir() else home.mkdir()
        home.chmod(0o755)
        for name in ("tmp", "var/tmp"):
            (root / name).chmod(0o1777)
        (root / "root").chmod(0o700)

    def apt(self) -> None:
        """The host's package sources, reached through the proxy."""
        (self.root / "etc/apt/apt.conf.d").mkdir(parents=True, exist_ok=True)
        for path in ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/trusted.gpg.d"):
            self.tree(path)
        for file in (self.root / "etc/apt").rglob("*"):
            if "sources" in str(file) and file.is_file() and b"@" in file.read_bytes():
                file.unlink()  # may carry a password
        settings = [f'Acquire::{scheme}::Proxy "{PROXY}";' for scheme in ("http", "https")]
        write(self.root / "etc/apt/apt.conf.d/90lambda", [*settings, 'APT::Sandbox::User "root";'])

    def own(self) -> None:
        """Give everything to the instances' root, the home to their user; last, because a chown clears setuid."""
        if self.base is None:
            return
        home = str(self.root / "home/lambda")
        for directory, _, files in os.walk(self.root):
            owner = self.base + (1000 if directory.startswith(home) else 0)
            for path in [directory, *(os.path.join(directory, name) for name in files)]:
                mode = os.lstat(path).st_mode
                os.lchown(path, owner, owner)
                if mode & stat.S_ISUID:
                    os.chmod(path, stat.S_IMODE(mode))
            # os.walk lists links to directories among the directories.
            for entry in os.scandir(directory):
                if entry.is_symlink():
                    os.lchown(entry.path, owner, owner)
        (self.root / "usr/local/libexec/become").chmod(0o4755)


def write(path: Path, lines: list[str], mode: int = 0o644) -> None:
    """A generated file in place of whatever was copied there, never through a link."""
    path.unlink(missing_ok=True)
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
