"""Zips: what is harmless passes, and what is not is named for what it is."""

import io
import stat
import zipfile
import zlib

import pytest

from functions import archive
from functions.archive import BadArchive

HANDLER = {"app.py": b"def handler(event, context):\n    return event\n"}


def zip_of(*entries: tuple[zipfile.ZipInfo | str, bytes], files: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in (files or {}).items():
            made.writestr(name, content)
        for entry, content in entries:
            made.writestr(entry, content)
    return buffer.getvalue()


def problem(code: bytes, *, runtime: str = "python3.11", handler: str = "app.handler") -> str:
    with pytest.raises(BadArchive) as refused:
        archive.check(code, runtime, handler)
    assert refused.value.errors[0].message
    return refused.value.details["problem"]


@pytest.mark.parametrize("name", ["../app.py", "a/../../app.py", "/etc/passwd", "..\\app.py", "C:/app.py"])
def test_a_file_that_would_leave_its_folder_is_refused(name):
    assert problem(zip_of((name, b"x"), files=HANDLER)) == "zip_slip"


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_links_and_devices_are_refused(mode):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = mode << 16
    assert problem(zip_of((entry, b"/etc/passwd"), files=HANDLER)) == "symlink"


def test_a_bomb_is_refused_by_its_ratio():
    assert problem(zip_of(("zeros", bytes(20_000_000)), files=HANDLER)) == "zip_bomb"


def test_a_bomb_of_many_small_files_is_refused_by_its_whole_size(monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 10_000)
    files = {f"{number}.txt": b"x" * 1000 for number in range(11)}
    assert problem(zip_of(files=HANDLER | files)) == "zip_bomb"


def test_a_bomb_that_lies_about_its_size_is_refused():
    honest = zip_of(("zeros", bytes(2_000_000)), files=HANDLER)
    lying = honest.replace((2_000_000).to_bytes(4, "little"), (2_000).to_bytes(4, "little"))
    assert lying != honest
    assert problem(lying) in ("not_a_zip", "zip_bomb")


def test_a_damaged_zip_is_none():
    whole = bytearray(zip_of(("noise", zlib.compress(b"x" * 999)), files=HANDLER))
    whole[60] ^= 255
    assert problem(bytes(whole)) == "not_a_zip"
    assert problem(b"") == "not_a_zip"
    assert problem(b"def handler(): pass") == "not_a_zip"
    assert problem(bytes(whole[:100])) == "not_a_zip"


def test_an_archive_above_fifty_megabytes_is_refused():
    assert problem(bytes(archive.MAX_ARCHIVE + 1)) == "too_large"


def test_two_files_of_one_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        code = zip_of(("app.py", b"1"), files=HANDLER)
    assert problem(code) == "duplicate"


@pytest.mark.parametrize(
    ("handler", "runtime"),
    [("main.handler", "python3.11"), ("src.app.handler", "python3.11"), ("app.handler", "nodejs20")],
)
def test_a_handler_whose_file_is_missing_is_refused_and_what_there_is_is_named(handler, runtime):
    with pytest.raises(BadArchive, match=r"app\.py") as refused:
        archive.check(zip_of(files=HANDLER), runtime, handler)
    assert (refused.value.details["problem"], refused.value.errors[0].field) == ("missing_handler", "handler")


@pytest.mark.parametrize(
    ("files", "runtime", "handler"),
    [
        ({"app.py": b""}, "python3.11", "app.handler"),
        ({"pkg/__init__.py": b"", "pkg/app.py": b""}, "python3.11", "pkg.app.handler"),
        ({"pkg/app.py": b""}, "python3.11", "pkg/app.handler"),
        ({"pkg/__init__.py": b""}, "python3.11", "pkg.handler"),
        ({"index.js": b""}, "nodejs20", "index.handler"),
        ({"index.mjs": b""}, "nodejs20", "index.handler"),
        ({"src/index.cjs": b""}, "nodejs20", "src/index.handler"),
    ],
)
def test_a_handler_is_found_where_its_runtime_looks(files, runtime, handler):
    archive.check(zip_of(files=files), runtime, handler)


@pytest.mark.parametrize(
    ("source", "runtime", "file"),
    [
        ("def handler(e, c): pass", "python3.11", "app.py"),
        ("exports.handler = async () => 1", "nodejs20", "app.js"),
        ("export const handler = async () => 1", "nodejs20", "app.mjs"),
        ("import fs from 'node:fs'\nexport const handler = () => 1", "nodejs20", "app.mjs"),
    ],
)
def test_a_few_lines_become_a_zip_of_the_right_file_and_the_same_bytes_each_time(source, runtime, file):
    code = archive.inline(source, runtime, "app.handler")
    assert zipfile.ZipFile(io.BytesIO(code)).namelist() == [file]
    assert code == archive.inline(source, runtime, "app.handler")
    archive.check(code, runtime, "app.handler")


@pytest.mark.parametrize("name", ["lib/app.py/x", "./app.py", "a//b", "app.py/"])
def test_what_could_not_be_unpacked_is_refused_here_and_now(name):
    assert problem(zip_of(("a/b", b""), (name, b""), files=HANDLER | {"lib/app.py": b""})) == "duplicate"


@pytest.mark.parametrize("name", ["n" * 256, "ü" * 128, "a/" * 256 + "x"])
def test_a_path_that_no_disk_takes_is_refused(name):
    assert problem(zip_of((name, b""), files=HANDLER)) == "long_path"


def test_folders_may_be_in_a_zip_beside_their_files():
    archive.check(zip_of(("lib/", b""), ("lib/a.py", b""), ("lib-b", b""), files=HANDLER), "python3.11", "app.handler")
