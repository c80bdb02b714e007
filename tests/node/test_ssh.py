"""Logging in with OpenSSH's own clients: what people will really use.

Long, because every client and every way of using it is here.
"""

import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compute.drivers.base import Observed
from tests.node.agents import Agent

BIG = 5_000_000


@pytest.fixture(scope="module")
def seen(agent: Agent) -> Observed:
    return agent.create(hostname="shell-1")


def test_a_command_runs_as_the_user_in_its_home_on_the_named_host(agent, seen):
    assert agent.run(seen, "whoami; id -u; pwd; hostname; echo $HOME $SHELL").split() == [
        "lambda", "1000", "/home/lambda", "shell-1", "/home/lambda", "/bin/bash",
    ]  # fmt: skip


def test_sudo_makes_root(agent, seen):
    assert agent.run(seen, "sudo id -u; sudo -n -- whoami; sudo -i whoami; sudo A=1 sh -c 'echo $A'").split() == [
        "0", "root", "root", "1",
    ]  # fmt: skip
    assert agent.ssh(seen, "sudo false").returncode == 1


def test_sudo_says_what_it_does_not_know(agent, seen):
    refused = agent.ssh(seen, "sudo -u bob id")
    assert refused.returncode == 1
    assert b"only root" in refused.stderr


def test_what_people_expect_in_a_shell_is_there(agent, seen):
    tools = "bash curl git python3 ps less scp ssh tar gzip sed awk grep find vi"
    agent.run(seen, f"for tool in {tools}; do command -v $tool || exit 1; done")
    assert (
        agent.run(
            seen, "python3 -c 'import ssl, sqlite3; print(len(ssl.create_default_context().get_ca_certs()) > 10)'"
        )
        == "True"
    )


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_of_a_command_comes_back(agent, seen, code):
    assert agent.ssh(seen, f"exit {code}").returncode == code


def test_a_command_ended_by_a_signal_is_reported_as_such(agent, seen):
    done = subprocess.run(
        ["ssh", *agent.ssh_options(seen), "-v", f"lambda@{seen.endpoint.host}", "kill -TERM $$"],
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 255
    assert b"exit-signal" in done.stderr


def test_output_and_errors_arrive_whole_and_apart(agent, seen):
    done = agent.ssh(seen, f"head -c {BIG} /dev/zero; echo wrong >&2; exit 4")
    assert (len(done.stdout), done.stderr, done.returncode) == (BIG, b"wrong\n", 4)


def test_input_arrives_whole_and_its_end_is_seen(agent, seen):
    data = os.urandom(BIG)
    assert agent.ssh(seen, "cat", stdin=data).stdout == data
    assert agent.ssh(seen, "true", stdin=data).returncode == 0


def test_a_login_shell_reads_commands_from_its_input(agent, seen):
    done = agent.ssh(seen, stdin=b"shopt -q login_shell && echo login\nexit 7\n")
    assert (done.stdout, done.returncode) == (b"login\n", 7)


def test_the_clients_language_arrives_and_other_variables_do_not(agent, seen):
    environment = {**os.environ, "LC_ALL": "C", "LD_PRELOAD_X": "1"}
    argv = ["ssh", *agent.ssh_options(seen), "-o", "SendEnv=LC_ALL LD_PRELOAD_X", f"lambda@{seen.endpoint.host}", "env"]
    lines = (
        subprocess.run(argv, capture_output=True, env=environment, timeout=20, check=True).stdout.decode().splitlines()
    )
    assert "LC_ALL=C" in lines
    assert not [line for line in lines if line.startswith("LD_PRELOAD_X")]


def test_a_background_job_outlives_its_session(agent, seen):
    agent.run(seen, "nohup sleep 300 > /dev/null 2>&1 & echo $! > job")
    assert agent.run(seen, "ps -o comm= -p $(cat job)") == "sleep"
    agent.run(seen, "kill $(cat job)")


class Terminal:
    """`ssh -tt` on a terminal of ours."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        self.output = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: bytes, seconds: float = 20) -> None:
        """Wait for `text` in what has not been expected before: a prompt that was there already is no new one."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], (text, self.output)
            self.output += os.read(self.master, 65536)
        self.output = self.output.partition(text)[2]

    def end(self) -> int:
        """The exit code of ssh, which must end by itself."""
        while select.select([self.master], [], [], 20)[0]:
            try:
                if not os.read(self.master, 65536):
                    break
            except OSError:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_has_the_clients_size_and_follows_its_changes(agent, seen):
    terminal = Terminal(["ssh", *agent.ssh_options(seen), "-tt", f"lambda@{seen.endpoint.host}"])
    subprocess.run(["stty", "rows", "40", "columns", "123"], stdin=terminal.master, check=True)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.expect(b"$ ")
    terminal.type("stty size; tty; echo T=$TERM\n")
    terminal.expect(b"40 123")
    terminal.expect(b"/dev/pts/")
    terminal.type("until [ $(stty size | cut -c 1-2) = 50 ]; do sleep 0.02; done; stty size\n")
    subprocess.run(["stty", "rows", "50", "columns", "99"], stdin=terminal.master, check=True)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.expect(b"50 99")
    terminal.type("exit 5\n")
    assert terminal.end() == 5


def test_ctrl_c_interrupts_what_runs_in_a_terminal(agent, seen):
    terminal = Terminal(["ssh", *agent.ssh_options(seen), "-tt", f"lambda@{seen.endpoint.host}"])
    terminal.expect(b"$ ")
    terminal.type("sleep 60; echo ended with $?\n")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.expect(b"$ ")
    terminal.type("echo status $?\n")
    terminal.expect(b"status 130")
    terminal.expect(b"$ ")  # the shell listens: an end of input before that would be lost
    terminal.type("\x04")
    assert terminal.end() == 0


def copy(agent: Agent, seen: Observed, *arguments: str) -> None:
    subprocess.run(["scp", *agent.ssh_options(seen), *arguments], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("protocol", ["-s", "-O"], ids=["sftp", "classic"])
def test_scp_copies_files_in_both_directions(agent, seen, tmp_path, protocol):
    there = f"lambda@{seen.endpoint.host}"
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(BIG))
    copy(agent, seen, protocol, str(source), f"{there}:copy{protocol}")
    copy(agent, seen, protocol, f"{there}:copy{protocol}", str(back))
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("protocol", ["-s", "-O"], ids=["sftp", "classic"])
def test_scp_copies_trees(agent, seen, tmp_path, protocol):
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/inner/ä file").write_text("text")
    copy(agent, seen, protocol, "-r", str(tmp_path / "tree"), f"lambda@{seen.endpoint.host}:tree{protocol}")
    assert agent.run(seen, f"cat tree{protocol}/inner/*") == "text"


def sftp(agent: Agent, seen: Observed, batch: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    argv = ["sftp", *agent.ssh_options(seen), "-b", "-", f"lambda@{seen.endpoint.host}"]
    return subprocess.run(argv, input=batch.encode(), cwd=directory, capture_output=True, timeout=30, check=False)


def test_sftp_does_what_file_managers_need(agent, seen, tmp_path):
    (tmp_path / "file").write_text("hello")
    batch = "mkdir d\nput file d/a\nchmod 600 d/a\nrename d/a d/b\nsymlink b d/link\nls -l d\nget d/link back\nrm d/link\nrm d/b\nrmdir d\n"
    done = sftp(agent, seen, batch, tmp_path)
    assert done.returncode == 0, done
    assert (tmp_path / "back").read_text() == "hello"
    assert b"-rw-------" in done.stdout


def test_sftp_sees_the_instance_and_not_the_host(agent, seen, tmp_path):
    agent.run(seen, "ln -sf /etc/hostname trap")
    assert sftp(agent, seen, "get trap\n", tmp_path).returncode == 0
    assert (tmp_path / "trap").read_text() == "shell-1\n"
    assert sftp(agent, seen, f"ls {agent.home}\n", tmp_path).returncode != 0


@pytest.fixture
def forward(agent: Agent, seen: Observed) -> Callable[[str], subprocess.Popen]:
    """Runs `ssh -N -L` and ends it."""
    made: list[subprocess.Popen] = []

    def make(rule: str) -> subprocess.Popen:
        made.append(
            subprocess.Popen(
                ["ssh", *agent.ssh_options(seen), "-N", "-L", rule, f"lambda@{seen.endpoint.host}"],
                stderr=subprocess.PIPE,
            )
        )
        return made[-1]

    yield make
    for process in made:
        process.terminate()
        process.communicate()


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_of_the_instance_can_be_forwarded(agent, seen, forward):
    agent.run(
        seen,
        "mkdir -p www; echo inside > www/x; cd www; nohup python3 -m http.server 8123 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 0.7",
    )
    port = free_port()
    forward(f"{port}:localhost:8123")
    with connect(port) as there:
        there.sendall(b"GET /x HTTP/1.0\r\n\r\n")
        answer = b""
        while data := there.recv(65536):
            answer += data
    assert answer.endswith(b"inside\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_of_the_host_cannot_be_reached_by_forwarding(agent, seen, forward, host):
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        service.listen()
        service.settimeout(0.5)
        port = free_port()
        forward(f"{port}:{host}:{service.getsockname()[1]}")
        with connect(port) as there:
            assert there.recv(10) == b""
        with pytest.raises(TimeoutError):
            service.accept()


def test_another_host_cannot_be_reached_by_forwarding(agent, seen):
    refused = agent.ssh(seen, options=("-W", "10.0.0.1:80"))
    assert refused.returncode == 255
    assert b"forwarding failed" in refused.stderr


def test_a_port_on_the_host_cannot_be_opened_by_the_instance(agent, seen):
    refused = agent.ssh(seen, "true", options=("-R", "0:localhost:22", "-o", "ExitOnForwardFailure=yes"))
    assert refused.returncode == 255
    assert b"remote port forwarding failed" in refused.stderr


def test_a_key_that_is_not_of_the_instance_is_refused(agent, seen, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    refused = agent.ssh(seen, "true", key=tmp_path / "other")
    assert refused.returncode == 255
    assert b"Permission denied (publickey)" in refused.stderr


@pytest.mark.parametrize("user", ["root", "admin", ""])
def test_another_user_is_refused_even_with_the_right_key(agent, seen, user):
    argv = ["ssh", *agent.ssh_options(seen), "-l", user or "nobody", seen.endpoint.host, "true"]
    refused = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    assert b"Permission denied (publickey)" in refused.stderr


def test_passwords_are_not_offered(agent, seen):
    options = ("-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive")
    refused = agent.ssh(seen, "true", options=options)
    assert b"Permission denied (publickey)" in refused.stderr


@pytest.mark.slow
def test_every_kind_of_key_that_openssh_makes_logs_in(agent, tmp_path):
    keys = {}
    for kind in ("ed25519", "rsa", "ecdsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / kind], check=True)
        keys[kind] = (tmp_path / f"{kind}.pub").read_text().strip()
    seen = agent.create(ssh_keys=tuple(keys.values()))
    for kind in keys:
        assert agent.run(seen, "echo in", key=tmp_path / kind) == "in"
    agent.driver.delete(seen.id, generation=2)
