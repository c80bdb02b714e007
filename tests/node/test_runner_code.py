"""What comes into a runner as code: asked for once, unpacked with care, refused in plain words."""

import hashlib
import io
import zipfile

import pytest

from functions.drivers.base import Revision, RunnerError
from node.errors import Fatal
from node.runner import revisions
from tests.node.runners import zip_of

HELLO = "def handler(event, context):\n    return 'hello'\n"


def test_code_is_asked_for_once(runner):
    revision = runner.deploy(HELLO + "# asked for once\n")
    known, _ = runner.put[revision]
    changed = Revision(**{**known.__dict__, "id": f"{revision}-b", "code_sha256": "0" * 64})
    assert runner.driver.put(changed, None) is False
    assert runner.driver.put(Revision(**{**known.__dict__, "id": f"{revision}-c"}), None) is True


def test_an_unknown_runtime_is_refused_with_those_there_are(runner):
    with pytest.raises(RunnerError, match=r"cobol85; it has python3"):
        runner.deploy(HELLO, runtime="cobol85")


@pytest.mark.parametrize("name", ["../outside.py", "/absolute.py", "a/../../b.py"])
def test_a_zip_that_reaches_outside_is_refused(runner, name):
    with pytest.raises(RunnerError, match="outside of itself"):
        runner.deploy({"app.py": HELLO, name: "x"})


def test_a_zip_with_a_link_in_it_is_refused(runner):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RunnerError, match="neither a file nor a directory"):
        put_raw(runner, made.getvalue())


@pytest.mark.parametrize("lie", [False, True])
def test_a_bomb_is_refused_before_it_is_on_the_disk(tmp_path, monkeypatch, lie):
    """Code may have 250 MB; here 1 MB, and a header that says the truth or not."""
    monkeypatch.setattr(revisions, "MOST_BYTES", 1 << 20)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(3 << 20))
    data = made.getvalue()
    if lie:
        data = data.replace((3 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    with pytest.raises(Fatal, match=r"cannot be unpacked" if lie else r"larger than 1 MB"):
        revisions.unpack(data, tmp_path / "code")
    assert sum(path.stat().st_size for path in (tmp_path / "code").rglob("*")) <= 1 << 20


def test_what_is_no_zip_or_another_one_is_refused(runner):
    with pytest.raises(RunnerError, match="cannot be unpacked"):
        put_raw(runner, b"no zip at all")
    revision, _ = runner.put[runner.deploy(HELLO)]
    with pytest.raises(RunnerError, match="SHA-256 differs"):
        runner.driver.put(Revision(**{**revision.__dict__, "id": "other", "code_sha256": "1" * 64}), zip_of({"a": "b"}))


def put_raw(runner, data: bytes) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    facts = {"account": "a", "function": "f", "name": "f", "version": 1, "handler": "app.handler"}
    revision = Revision(
        id=f"raw-{sha256[:8]}",
        runtime=runner.runtimes["python"],
        memory_mb=128,
        timeout_ms=1000,
        code_sha256=sha256,
        **facts,
    )
    runner.driver.put(revision, data)
