"""Where instances cannot run, the probe says why and what to do; the failures are made for real where a test can."""

import subprocess
from pathlib import Path

import pytest

from compute.drivers.base import Unsupported
from node import probe
from node.errors import Fatal
from tests.node import agents
from tests.node.agents import Agent, Login


@pytest.mark.parametrize(
    ("said", "cause", "cure"),
    [
        (
            "bwrap: setting up uid map: Permission denied",
            "since 23.10",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "since 23.10", "or run Lambda as root"),
        ("bwrap: No permissions to creating new namespace, likely because", "no new namespaces", "max_user_namespaces"),
        ("bwrap: Creating new namespace failed: Operation not permitted", "no new namespaces", "seccomp=unconfined"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "/proc is partly hidden", "systempaths"),
        ("bwrap: Can't make overlay mount on /newroot/: Invalid argument", "cannot carry overlays", "LAMBDA_HOME"),
        ("bwrap: Unknown option --overlay-src", "older than 0.11", "Unset LAMBDA_BWRAP"),
    ],
)
def test_what_bwrap_says_becomes_a_reason_and_a_remedy(said, cause, cure):
    reason, remedy = probe.remedy_for(said)
    assert cause in reason
    assert cure in remedy
    refusal = probe.explain(said, "The instance did not start.")
    assert refusal.kind == "Unsupported"
    assert cause in str(refusal)
    assert cure in str(refusal)


def test_what_nobody_foresaw_is_passed_on_as_it_was_said():
    refusal = probe.explain("bwrap: the moon is full", "The instance did not start.")
    assert isinstance(refusal, Fatal)
    assert "the moon is full" in str(refusal)
    assert "the moon is full" in probe.remedy_for("bwrap: the moon is full")[0]


def test_a_probe_leaves_nothing_behind(agent):
    before = sorted(agent.home.iterdir())
    for _ in range(3):
        assert agent.driver.probe().ok
    assert sorted(agent.home.iterdir()) == before
    assert agents.processes_mentioning(".probe-") == []


def test_the_probe_tells_what_is_enforced(agent):
    able = agent.driver.probe()
    assert able.tier == {"root": "T3", "user": "T1"}[agent.who.tier]
    assert able.limits["pids"] == "enforced"
    assert able.limits["disk"] == "none"
    assert able.os in (Path("/etc/os-release").read_text())


def unable(agent: Agent) -> tuple[str, str]:
    """Reason and remedy of an agent that must not be able, and of a create there, which must not go around them."""
    agent.start()
    able = agent.driver.probe()
    assert not able.ok
    with pytest.raises(Unsupported) as refused:
        agent.create()
    assert able.remedy in str(refused.value)
    assert agent.alive() == []
    return able.reason, able.remedy


def wrapped(agent: Agent, *prefix: str) -> Agent:
    """The agent, started through a command that takes something away from it."""
    agent.who = Login(agent.who.tier, (*prefix, *agent.who.command), agent.who.user)
    return agent


@pytest.fixture
def root_agent(request: pytest.FixtureRequest):
    """An agent of root to be broken: only root can take abilities away for a test."""
    who = agents.login("root")
    with agents.home_for(who) as home:
        agent = Agent(who, home)
        yield agent
        agent.end()
        assert agent.alive() == []


@pytest.mark.slow
def test_a_machine_that_allows_no_user_namespaces_is_told_how_to_allow_them(root_agent):
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    (root_agent.home / "images").unlink()  # it builds another one, and would throw away that of the others
    # Inside a user namespace of its own, so that the limit is not the machine's.
    reason, remedy = unable(wrapped(root_agent, "unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"))
    assert "allows no new namespaces" in reason
    assert "max_user_namespaces" in remedy


@pytest.mark.slow
def test_a_container_that_hides_parts_of_proc_is_told_so(root_agent):
    hide = 'mount -t tmpfs none /proc/irq; exec "$@"'
    reason, remedy = unable(wrapped(root_agent, "unshare", "--mount", "sh", "-c", hide, "sh"))
    assert "/proc is partly hidden" in reason
    assert "systempaths=unconfined" in remedy


@pytest.mark.slow
def test_a_home_on_an_overlay_is_told_to_move(root_agent):
    home, place = root_agent.home, root_agent.home / "over"
    for name in ("lower", "upper", "work", "merged"):
        (place / name).mkdir(parents=True)
    over = (
        f"mount -t overlay overlay -o lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work {place}/merged"
    )
    subprocess.run(over, shell=True, check=True)
    try:
        agent = Agent(root_agent.who, place / "merged" / "home")
        reason, remedy = unable(agent)
        agent.close()
    finally:
        subprocess.run(["umount", place / "merged"], check=True)
    assert "cannot carry overlays" in reason
    assert "LAMBDA_HOME" in remedy
    assert home.exists()


@pytest.mark.slow
def test_a_bwrap_that_is_too_old_is_told_to_be_unset(root_agent, tmp_path):
    old = root_agent.home / "bwrap"
    old.write_text("#!/bin/sh\necho 'bwrap: Unknown option --overlay-src' >&2\nexit 1\n")
    old.chmod(0o755)
    root_agent.home.chmod(0o755)
    root_agent.environment = {"LAMBDA_BWRAP": str(old)}
    reason, _ = unable(root_agent)
    assert "older than 0.11" in reason
