"""What instances cost on this machine, as ratios: `.venv/bin/python -m bench.driver`.

Prints how long a create takes until a command over SSH has finished, OpenSSH's whole login against its login to a plain
sshd on the same machine, and the memory of an idle instance among 200. As root it measures both kinds of agent.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import asyncssh

from tests.node import agents
from tests.node.agents import Agent

CREATES, LOGINS, IDLE = 40, 20, 200
SSHD = "/usr/sbin/sshd"
TARGET_MS = {"user": 100, "root": 150}  # of the driver alone; the whole platform may take 150 and 220


def percentiles(times: list[float]) -> tuple[float, float]:
    """The median and the 95th percentile, in ms."""
    ordered = sorted(times)
    return statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.95)] * 1000


async def create_to_command(agent: Agent) -> tuple[list[float], list[float]]:
    """Seconds of each create alone, and until a command has finished over a new SSH connection."""
    key = asyncssh.read_private_key(agent.key)
    alone, whole = [], []
    for _ in range(CREATES):
        spec = agent.spec()
        begun = time.perf_counter()
        seen = await asyncio.to_thread(agent.driver.create, spec)
        alone.append(time.perf_counter() - begun)
        end = seen.endpoint
        known = asyncssh.import_known_hosts(f"[{end.host}]:{end.port} {end.host_key}\n{end.host} {end.host_key}\n")
        async with asyncssh.connect(
            end.host, end.port, username=end.user, client_keys=[key], known_hosts=known, agent_path=None, config=None
        ) as connection:
            await connection.run("true", check=True)
        whole.append(time.perf_counter() - begun)
        await asyncio.to_thread(agent.driver.delete, seen.id, generation=2)
    return alone, whole


def login_times(argv: list[str]) -> list[float]:
    times = []
    for _ in range(LOGINS):
        begun = time.perf_counter()
        subprocess.run(argv, check=True, capture_output=True, timeout=20)
        times.append(time.perf_counter() - begun)
    return times


def bare_login(key: Path) -> float | None:
    """The median in seconds of OpenSSH's login to a plain sshd started for this; None without one.

    As the tests' user, because a person's own shell may take long to start.
    """
    if not os.path.exists(SSHD) or os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory() as name:
        host_key = Path(name, "host")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
        allowed = Path(shutil.copy(f"{key}.pub", Path(name, "allowed")))
        for path in (Path(name), allowed):
            path.chmod(0o755)  # sshd reads it as the user who logs in
        served = {"ListenAddress": "127.0.0.1", "Port": 22022, "HostKey": host_key, "AuthorizedKeysFile": allowed}
        served |= {"UsePAM": "no", "StrictModes": "no", "PidFile": "none"}
        asked = {"Port": 22022, "IdentityFile": key, "IdentitiesOnly": "yes", "BatchMode": "yes"}
        asked |= {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
        Path("/run/sshd").mkdir(exist_ok=True)
        with subprocess.Popen([SSHD, "-D", "-f", "/dev/null", *as_options(served)]) as server:
            try:
                time.sleep(0.5)
                return statistics.median(
                    login_times(["ssh", "-F", "/dev/null", *as_options(asked), f"{agents.USER}@127.0.0.1", "true"])
                )
            finally:
                server.terminate()


def as_options(options: dict[str, object]) -> list[str]:
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def used_mb(agent: Agent) -> float:
    """What instances take: their processes and the agent's, each page once, and the kernel's memory for them.

    Not the machine's free memory: whatever else runs here would be counted too.
    """
    pages = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
            if b"bwrap" in line or b"/run/init" in line or b"86400" in line or process.name == str(agent.process.pid):
                pages += next(
                    int(row.split()[1])
                    for row in (process / "smaps_rollup").read_text().splitlines()
                    if row.startswith("Pss:")
                )
        except OSError:
            continue
    kernel = ("SUnreclaim:", "KernelStack:", "PageTables:", "Percpu:")
    facts = (row.split() for row in Path("/proc/meminfo").read_text().splitlines())
    return (pages + sum(int(fact[1]) for fact in facts if fact[0] in kernel)) / 1024


def idle_memory(agent: Agent) -> tuple[float, float]:
    """MB of memory per idle instance, and seconds that all of them took to create."""
    before, begun = used_mb(agent), time.perf_counter()
    made = [agent.create() for _ in range(IDLE)]
    took = time.perf_counter() - begun
    time.sleep(2)
    each = (used_mb(agent) - before) / IDLE
    for seen in made:
        agent.driver.delete(seen.id, generation=2)
    return each, took


def measure(tier: str) -> None:
    who = agents.login(tier)
    with agents.home_for(who) as home:
        agent = Agent(who, home).start()
        alone, whole = asyncio.run(create_to_command(agent))
        p50, p95 = percentiles(whole)
        print(f"{tier}: create alone            p50 {percentiles(alone)[0]:.0f} ms, p95 {percentiles(alone)[1]:.0f} ms")
        target = TARGET_MS[tier]
        print(f"{tier}: create to command done  p50 {p50:.0f} ms, p95 {p95:.0f} ms: {p50 / target:.2f} of {target} ms")
        seen = agent.create()
        login = statistics.median(
            login_times(["ssh", *agent.ssh_options(seen), f"lambda@{seen.endpoint.host}", "true"])
        )
        bare = bare_login(agent.key)
        against = (
            f"{login / bare:.2f} of a bare sshd's {bare * 1000:.0f} ms, at most 1.70"
            if bare
            else "apt install openssh-server, as root"
        )
        print(f"{tier}: OpenSSH's whole login   p50 {login * 1000:.0f} ms: {against}")
        each, took = idle_memory(agent)
        print(
            f"{tier}: {IDLE} idle instances      {each:.2f} MB each: {each / 2:.2f} of 2 MB; "
            f"all created in {took:.1f} s"
        )
        agent.close()


def main() -> None:
    for tier in agents.TIERS if os.geteuid() == 0 else ["user"]:
        measure(tier)


if __name__ == "__main__":
    main()
