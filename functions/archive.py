"""Code as a zip: made from a few lines, or checked before it goes anywhere near a disk. No rows and no HTTP.

The runner unpacks it again with suspicion; here the person who sent it is told what is wrong.
"""

import io
import re
import stat
import zipfile
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from core.errors import FieldError, Invalid

MAX_ARCHIVE = 50 * 1024 * 1024  # bytes as sent
MAX_UNPACKED = 250 * 1024 * 1024  # bytes
MAX_FILES = 20_000
MAX_PATH, MAX_NAME = 512, 255  # bytes: of a whole path, and what a file system takes of one name
MAX_RATIO = 200  # times that a file may grow: text shrinks to a tenth, a bomb to a thousandth
SMALL = 1024 * 1024  # bytes: what unpacks to less harms nobody, whatever its ratio
EDITABLE = 256 * 1024  # bytes of one file that people still edit in a page
SUFFIXES = {"python": [".py"], "node": [".js", ".mjs", ".cjs"]}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's own: the same code is the same bytes


class BadArchive(Invalid):
    """`details.problem` says which promise a zip broke."""

    def __init__(self, problem: str, message: str, field: str = "code"):
        super().__init__(errors=[FieldError(field, message)], problem=problem)


def inline(source: str, runtime: str, handler: str) -> bytes:
    """A zip of the one file in which the runtime looks for the handler."""
    suffix = SUFFIXES[family(runtime)][0]
    if family(runtime) == "node" and re.search(r"^\s*(export|import)\s[^(]", source, re.MULTILINE):
        suffix = ".mjs"
    return pack({module_of(handler) + suffix: source.encode()})


def pack(files: dict[str, bytes]) -> bytes:
    """A zip of these files, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


class Inside(NamedTuple):
    """What a zip that was checked has in it: its files, and the text of the only one where that can be edited."""

    files: list[str]
    text: str | None


def look(code: bytes) -> Inside:
    """For the editor: code that was `inline` comes back as the text it was."""
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        files = sorted(entry.filename for entry in entries)
        if len(entries) != 1 or entries[0].file_size > EDITABLE:
            return Inside(files, None)
        try:
            return Inside(files, archive.read(entries[0]).decode())
        except UnicodeDecodeError:
            return Inside(files, None)


def check(code: bytes, runtime: str, handler: str) -> None:
    """Raises BadArchive for what is no zip, would leave its folder or fill the disk, or has no file for the handler."""
    if len(code) > MAX_ARCHIVE:
        raise BadArchive("too_large", f"The zip has {len(code)} bytes; {MAX_ARCHIVE} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            entries = archive.infolist()
            for entry in entries:
                _check_entry(entry)
            _check_sizes(entries)
            _check_places(entries)
            _check_contents(archive)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as broken:
        message = f"code must be a zip, sent as it is (curl: --data-binary @code.zip): {broken}"
        raise BadArchive("not_a_zip", message) from None
    _check_handler({str(PurePosixPath(entry.filename)) for entry in entries}, runtime, handler)


def family(runtime: str) -> str:
    return "node" if runtime.startswith("nodejs") else "python"


def module_of(handler: str) -> str:
    """The path of the handler's file without its suffix: `app.handler` is in app, `src/app.handler` in src/app."""
    return handler.rpartition(".")[0].replace(".", "/")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name, mode = entry.filename, entry.external_attr >> 16
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\x00" in name or re.match("^[A-Za-z]:", name):
        raise BadArchive("zip_slip", f"'{name[:100]}' would be unpacked outside of the function's folder")
    if len(name.encode()) > MAX_PATH or any(len(part.encode()) > MAX_NAME for part in path.parts):
        raise BadArchive("long_path", f"'{name[:100]}…' is too long: {MAX_PATH} bytes are allowed, {MAX_NAME} a name")
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and stat.S_IFMT(mode):
        raise BadArchive("symlink", f"'{name[:100]}' is a link or a device: only files and folders are allowed")
    if entry.flag_bits & 0x1:
        raise BadArchive("encrypted", f"'{name[:100]}' is encrypted")


def _check_sizes(entries: list[zipfile.ZipInfo]) -> None:
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES:
        raise BadArchive("too_many_files", f"The zip has {len(entries)} files; {MAX_FILES} are allowed")
    if total > MAX_UNPACKED:
        raise BadArchive("zip_bomb", f"The code unpacks to {total} bytes; {MAX_UNPACKED} are allowed")
    for entry in entries:
        if entry.file_size > SMALL and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise BadArchive("zip_bomb", f"'{entry.filename[:100]}' unpacks to {entry.file_size} bytes: no code does")


def _check_places(entries: list[zipfile.ZipInfo]) -> None:
    """No two of one name, and no file where a folder must be. Sorted, what is below a path comes right behind it."""
    places = sorted((PurePosixPath(entry.filename).parts, entry.is_dir()) for entry in entries)
    for (path, is_folder), (after, _) in pairwise(places):
        if path == after:
            raise BadArchive("duplicate", f"The zip has '{'/'.join(path)[:100]}' twice")
        if not is_folder and path == after[: len(path)]:
            raise BadArchive("duplicate", f"'{'/'.join(path)[:100]}' is a file in the zip, and a folder too")


def _check_contents(archive: zipfile.ZipFile) -> None:
    """Read every file to its end: what the directory says of sizes and checksums may be a lie."""
    left = MAX_UNPACKED
    for entry in archive.infolist():
        with archive.open(entry) as file:
            while chunk := file.read(1024 * 1024):
                left -= len(chunk)
                if left < 0:
                    raise BadArchive("zip_bomb", f"The code unpacks to more than {MAX_UNPACKED} bytes")


def _check_handler(files: set[str], runtime: str, handler: str) -> None:
    module = module_of(handler)
    wanted = [module + suffix for suffix in SUFFIXES[family(runtime)]]
    if family(runtime) == "python":
        wanted.append(f"{module}/__init__.py")
    if not files & set(wanted):
        top = sorted(name for name in files if "/" not in name)[:20]
        inside = (
            f"; the zip has {', '.join(top)}" if top else "; the zip has no file at its top: zip the files themselves"
        )
        message = f"The handler '{handler}' is looked for in {' or '.join(wanted)}, which is not in the zip{inside}"
        raise BadArchive("missing_handler", message, "handler")
