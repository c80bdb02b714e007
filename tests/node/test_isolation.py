"""What an instance must not see, reach or exhaust, tried from inside; and the three traps of entering one."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compute.drivers.base import Observed
from tests.node.agents import Agent

SECRET = "trap-secret-4242"


@pytest.fixture(scope="module")
def seen(agent: Agent) -> Observed:
    return agent.create(hostname="jail-1", memory_mb=256)


@pytest.mark.slow
def test_the_attach_helper_shows_nothing_of_the_agents_environment(own_agent):
    """Trap 1: for a moment a session's process is a copy of its helper, and others inside can look at it."""
    agent = own_agent(environment={"DJANGO_SECRET_KEY": SECRET}).start()
    seen = agent.create()
    spy = """
import os, time, sys
own, found, seen = {os.getpid(), os.getppid()}, set(), set()
end = time.monotonic() + 60
while len(seen) <= 10 and time.monotonic() < end:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in own: continue
        seen.add(name)
        for file in ("environ", "cmdline", "maps"):
            try: data = open(f"/proc/{name}/{file}", "rb").read()
            except OSError: continue
            if b"trap-secret" in data or b"DJANGO" in data: found.add(file)
            if file == "maps" and b"forkserver" in data: found.add(file)
        try:
            for fd in os.listdir(f"/proc/{name}/fd"):
                link = os.readlink(f"/proc/{name}/fd/{fd}")
                if "agent" in link or "memfd:seccomp" in link: found.add(link)
        except OSError: pass
print(len(seen) > 10, sorted(found))
"""
    with subprocess.Popen(
        ["ssh", *agent.ssh_options(seen), f"lambda@{seen.endpoint.host}", "sudo python3 -"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as watcher:
        watcher.stdin.write(spy.encode())
        watcher.stdin.close()
        while watcher.poll() is None:  # until it has looked at enough of them
            agent.run(seen, "true")
        assert watcher.stdout.read().decode().strip() == "True []"


@pytest.mark.parametrize("protocol", ["-s", "-O"], ids=["sftp", "classic"])
def test_a_link_inside_never_leads_a_copy_to_the_hosts_files(agent, seen, tmp_path, protocol):
    """Trap 2: /proc/PID/root is not a jail, so nothing outside may open an instance's paths."""
    agent.run(seen, "mkdir -p trap && ln -sfn /etc trap/etc")
    there = f"lambda@{seen.endpoint.host}:trap/etc"
    subprocess.run(["scp", protocol, *agent.ssh_options(seen), f"{there}/hostname", tmp_path / "got"], check=True)
    assert (tmp_path / "got").read_text() == "jail-1\n"
    absent = subprocess.run(
        ["scp", protocol, *agent.ssh_options(seen), f"{there}/ssh/ssh_config", tmp_path], check=False
    )
    assert absent.returncode == 1


@pytest.mark.slow
def test_the_process_limit_holds_for_each_instance_alone(agent, seen):
    """Trap 3: set outside, the limit would count all processes of the host's user, over all instances."""
    program = """
import os, resource, time
limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
children = []
try:
    while len(children) < limit + 50:
        pid = os.fork()
        if pid == 0:
            time.sleep(60); os._exit(0)
        children.append(pid)
except OSError: pass
print(limit, len(children))
for pid in children: os.kill(pid, 9)
for pid in children: os.waitpid(pid, 0)
"""
    full = agent.create(memory_mb=4096)
    limit, made = map(int, agent.python(full, program).split())
    assert limit == 2048
    assert limit - 60 < made < limit
    with subprocess.Popen(
        ["ssh", *agent.ssh_options(full), f"lambda@{full.endpoint.host}", "python3 -"], stdin=subprocess.PIPE
    ) as busy:
        busy.stdin.write(program.replace("print", "time.sleep(1.5); print").encode())
        busy.stdin.close()
        time.sleep(1)
        assert agent.run(seen, "for i in $(seq 100); do sleep 1 & done; wait; echo fine") == "fine"
        busy.terminate()
    agent.driver.delete(full.id, generation=2)


def test_an_instance_sees_only_its_own_processes(agent, seen):
    shown = agent.run(seen, "ps -eo args=").splitlines()
    assert shown[0].startswith("/bin/sh /run/init")
    assert not [line for line in shown if "bwrap" in line or "python" in line or "pytest" in line]


def test_services_of_the_host_cannot_be_reached(agent, seen):
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        abstract.bind(f"\0lambda-test-{os.getpid()}")
        abstract.listen()
        program = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]})), (socket.AF_UNIX, "\\0lambda-test-{os.getpid()}")):
    try: socket.socket(family).connect(address); print("reached")
    except ConnectionRefusedError: print("refused")
"""
        assert agent.python(seen, program).split() == ["refused", "refused"]


def test_files_of_the_host_are_not_there(agent, seen):
    mine = Path.home() / ".ssh"
    hidden = [
        str(agent.home),
        str(Path.cwd()),
        str(mine),
        "/var/lib/postgresql",
        "/etc/ssh/sshd_config",
        "/etc/ssl/private",
        "/sys/class",
    ]
    assert agent.run(seen, "; ".join(f"[ ! -e {path} ] || echo {path}" for path in hidden)) == ""
    accounts = agent.run(seen, "cat /etc/passwd; sudo cat /etc/shadow; ls /home")
    assert "lambda" in accounts
    for name in ("cloudsdk", "lambda-test", "postgres", "$"):
        assert name not in accounts


@pytest.mark.parametrize(
    "attempt",
    [
        "mknod /tmp/disk b 254 0",
        "date -s 2020-01-01",
        "sh -c 'echo x > /proc/sys/kernel/core_pattern'",
        "sh -c 'echo b > /proc/sysrq-trigger'",
        "dmesg",
        "ls /dev/vda /dev/sda /dev/kmem /dev/kmsg",
        "mount -t ext4 /dev/vda /mnt",
        "hostname -F /proc/1/root/../../etc/shadow",
    ],
)
def test_what_only_root_of_the_host_may_do_is_refused_to_root_of_the_instance(agent, seen, attempt):
    assert agent.ssh(seen, f"sudo {attempt}").returncode != 0


def test_dangerous_system_calls_are_refused(agent, seen):
    program = """
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": (321, 250, 425, 298, 323), "aarch64": (280, 219, 425, 241, 282)}[os.uname().machine]
print([errno.errorcode[(libc.syscall(number, 0, 0, 0, 0, 0), ctypes.get_errno())[1]] for number in numbers])
"""
    assert agent.python(seen, program) == str(["EPERM"] * 5)
    assert agent.run(seen, "sudo grep Seccomp: /proc/1/status /proc/self/status | awk '{print $2}'").split() == [
        "2",
        "2",
    ]


@pytest.mark.slow
def test_taking_too_much_memory_ends_the_taker_and_not_the_instance(agent, seen):
    taken = agent.ssh(seen, "python3 -c 'x = bytearray(1 << 30); print(len(x))'")
    assert taken.returncode != 0
    assert agent.run(seen, "echo alive") == "alive"
    assert agent.driver.get(seen.id).boot_id == seen.boot_id


@pytest.mark.slow
def test_a_processor_limit_holds_where_the_node_says_so(agent):
    if agent.driver.probe().limits["cpu"] != "enforced":
        assert agent.who.tier == "user"
        return
    seen = agent.create(vcpus=1)
    program = "import os\nfor _ in range(2):\n  if os.fork() == 0:\n    while True: pass\nimport time; time.sleep(1.5); print(sum(os.times()[:4]))"
    used = "cat /proc/[0-9]*/stat | awk '/python3/ {sum += $14 + $15} END {print sum / 100}'"
    agent.ssh(seen, "nohup python3 - > /dev/null 2>&1 & sleep 2", stdin=program.encode())
    begun, first = time.monotonic(), float(agent.run(seen, used))
    time.sleep(1.5)
    assert float(agent.run(seen, used)) - first < 1.3 * (time.monotonic() - begun)
    agent.driver.delete(seen.id, generation=2)


def test_killing_everything_inside_leaves_the_instance_running(agent, seen):
    agent.ssh(seen, "kill -9 -1")
    assert agent.run(seen, "echo alive") == "alive"
    assert agent.driver.get(seen.id).boot_id == seen.boot_id


@pytest.mark.slow
def test_instances_do_not_reach_each_other(agent, seen):
    other = agent.create(hostname="jail-2")
    agent.run(other, "echo private > secret; nohup python3 -m http.server 8200 > /dev/null 2>&1 & sleep 0.6")
    assert (
        agent.ssh(seen, f"curl --noproxy '*' -sm2 http://{other.endpoint.host}:8200/ http://127.0.0.1:8200/").returncode
        != 0
    )
    assert "secret" not in agent.run(seen, "ls")


def test_the_agents_files_are_closed_to_everybody_else(agent):
    for name in ("instances", "images", "deleted"):
        assert (agent.home / name).stat().st_mode & 0o077 == 0
    assert (agent.home / "agent.sock").stat().st_mode & 0o777 == 0o600
    for path in agent.home.glob("instances/*/hostkey"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_root_of_an_instance_is_nobody_on_the_host(agent, seen):
    seconds = f"61.{os.getpid()}"  # of no other test process
    agent.run(seen, f"nohup sudo sleep {seconds} > /dev/null 2>&1 &")
    time.sleep(0.3)
    owners = [
        (process / "status").read_text().split("Uid:")[1].split()[0]
        for process in Path("/proc").glob("[0-9]*")
        if (process / "cmdline").exists() and f"sleep\0{seconds}".encode() in (process / "cmdline").read_bytes()
    ]
    assert owners
    assert "0" not in owners
    if agent.who.tier == "root":
        assert all(int(owner) > 1_000_000_000 for owner in owners)


@pytest.mark.slow
def test_the_processor_has_nothing_to_do_for_idle_instances(agent, seen):
    ticks = lambda: sum(int(part) for part in Path(f"/proc/{agent_pid(agent)}/stat").read_text().split()[13:15])  # noqa: E731
    before = ticks()
    time.sleep(1)
    assert ticks() - before <= 1


def agent_pid(agent: Agent) -> int:
    """The agent itself: below `env` and `setpriv` it keeps the process id it was started with."""
    assert sys.platform == "linux"
    return agent.process.pid
