"""What is in the image that every instance starts from, and above all what is not."""

import os
import subprocess
import time

import pytest

from node import image, packages
from tests.node.agents import Agent


@pytest.fixture(scope="module")
def root(agent: Agent):
    return next(path for path in (agent.home / "images").iterdir() if not path.name.startswith("."))


def test_every_chosen_package_comes_with_all_that_it_depends_on(root):
    chosen = packages.choose()
    assert {"bash", "coreutils", "libc6"} <= set(chosen)
    done = subprocess.run(["dpkg", f"--admindir={root}/var/lib/dpkg", "--audit"], capture_output=True, check=True)
    assert done.stdout == b""
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package}\n"], capture_output=True, check=True
    )
    assert set(listed.stdout.decode().split()) == set(chosen)


def test_accounts_are_generated_and_none_has_a_password(root):
    users = (root / "etc/passwd").read_text().splitlines()
    assert "lambda:x:1000:1000::/home/lambda:/bin/bash" in users
    assert {line.split(":")[0] for line in users} == {"root", "daemon", "www-data", "_apt", "nobody", "lambda"}
    assert {line.split(":")[1] for line in (root / "etc/shadow").read_text().splitlines()} == {"*"}


def test_nothing_is_copied_from_places_where_hosts_keep_their_own(root):
    for name in ("root", "opt", "srv", "run", "mnt", "proc", "sys", "dev", "var/tmp", "tmp"):
        assert list((root / name).iterdir()) == [], name
    assert [path.name for path in (root / "home").iterdir()] == ["lambda"]
    for name in (
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssl/private",
        "etc/sudoers",
        "etc/crontab",
        "etc/fstab",
        "etc/machine-id",
        "var/log/dpkg.log",
    ):
        assert not (root / name).exists(), name


def test_files_that_only_some_may_read_are_left_out(root, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o640)
    copy = image.Copy(tmp_path / "image", None)
    copy.root.mkdir()
    copy.entry(str(secret))
    assert not (copy.root / str(secret).lstrip("/")).exists()
    secret.chmod(0o644)
    copy.entry(str(secret))
    assert (copy.root / str(secret).lstrip("/")).read_text() == "x"


def test_setuid_programs_exist_only_where_there_is_somebody_to_become(agent, root):
    found = [
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]
    if agent.who.tier == "user":
        assert found == []
    else:
        assert root / "usr/local/libexec/become" in found
        assert {path.stat().st_uid for path in found} == {int((agent.home / "uid-base").read_text())}


def test_a_build_that_was_cut_off_is_begun_again(tmp_path, monkeypatch):
    (tmp_path / ".unfinished" / "left").mkdir(parents=True)
    monkeypatch.setattr(image.Copy, "run", lambda self, found: self.root.mkdir())
    built = image.build(tmp_path, None)
    assert list(built.iterdir()) == []
    assert image.build(tmp_path, None) == built


def test_an_image_from_before_a_crash_of_the_machine_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(image.Copy, "run", lambda self, found: self.root.mkdir())
    monkeypatch.setattr(os, "sync", lambda: time.sleep(3600))  # the crash comes before all is on the disk
    built = image.build(tmp_path, None)
    (built / "perhaps-empty").touch()
    assert image.build(tmp_path, None) == built
    assert (built / "perhaps-empty").exists()
    (tmp_path / f".{built.name}.unsafe").write_text("another boot")
    assert list(image.build(tmp_path, None).iterdir()) == []
