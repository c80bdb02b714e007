"""Whether instances can run here, found out by running one for 10 ms; if not, why, and what to do about it."""

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from node import admission, errors, image, packages, sandbox
from node.forkserver import STAGE

if TYPE_CHECKING:
    from node.fleet import Fleet

# What bwrap or the kernel says, why that is, and how to mend it; the first that matches counts.
CAUSES = [
    (
        r"setting up uid map: Permission denied|Failed RTM_NEWADDR|RTM_NEWADDR: Operation not permitted",
        "This machine forbids ordinary users to make namespaces with rights in them, as Ubuntu does since 23.10.",
        (
            "Run once: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 "
            "(and put kernel.apparmor_restrict_unprivileged_userns=0 into /etc/sysctl.d/60-lambda.conf to keep it), "
            "or run Lambda as root."
        ),
    ),
    (
        r"No permissions to creat\w+ (a )?new namespace|new namespace failed|user namespace: (Operation|No space)",
        "This machine allows no new namespaces: they are switched off, or this is a container that forbids them.",
        (
            "Run: sudo sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1. In Docker, start "
            "the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or run outside."
        ),
    ),
    (
        r"Can't mount proc",
        "This is a container whose /proc is partly hidden, so instances cannot have one of their own.",
        "Run Lambda on the machine itself, or start the container with --security-opt systempaths=unconfined.",
    ),
    (
        r"Can't make overlay mount|not supported as upperdir",
        "The directory for instances is on a file system that cannot carry overlays, such as a container's own.",
        "Set LAMBDA_HOME to a directory on ext4, xfs, btrfs or tmpfs; in a container, to a volume.",
    ),
    (
        r"Unknown option",
        "The bubblewrap program given by LAMBDA_BWRAP is older than 0.11.",
        "Unset LAMBDA_BWRAP, so that the one installed with Lambda is used.",
    ),
]


def explain(said: str, otherwise: str) -> errors.NodeError:
    """The refusal to raise for what a failed start said: Unsupported with a remedy where we know one, else Fatal."""
    for pattern, reason, remedy in CAUSES:
        if re.search(pattern, f"{said}\n{otherwise}"):
            return errors.Unsupported(f"{reason} {remedy}")
    return errors.Fatal(f"{otherwise} {said}".strip())


def remedy_for(said: str) -> tuple[str, str]:
    """Reason and remedy, apart."""
    for pattern, reason, remedy in CAUSES:
        if re.search(pattern, said):
            return reason, remedy
    return f"A test instance did not start: {said}", "Mend what the message names, then try again."


async def run(fleet: "Fleet") -> dict:
    """The wire form of `drivers.base.Capabilities`. Leaves nothing behind."""
    tier = fleet.sandbox.tier
    memory = "memory" in fleet.cgroups.controllers
    facts = {
        "ok": True,
        "tier": tier.name,
        "reason": "",
        "remedy": "",
        "os": image.host_os(),
        "limits": {
            "cpu": "enforced" if "cpu" in fleet.cgroups.controllers else "none",
            "memory": "enforced" if memory else "best_effort",
            "pids": "enforced",
            "disk": "none",
        },
        "capacity": capacity(fleet),
    }
    try:
        packages.choose()
    except errors.Unsupported as error:
        reason, _, remedy = str(error).partition(". ")
        return {**facts, "ok": False, "reason": f"{reason}.", "remedy": remedy}
    said = await try_out(fleet)
    if said is not None:
        reason, remedy = remedy_for(said)
        return {**facts, "ok": False, "reason": reason, "remedy": remedy}
    return facts


def capacity(fleet: "Fleet") -> dict[str, float]:
    """What the machine has, and what of it is used at this moment, by instances or by others."""
    total, available = admission.memory()
    return {
        "vcpus": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "memory_mb": total,
        "memory_free_mb": available,
        "disk_free_mb": fleet.home.free_disk_mb(),
    }


async def try_out(fleet: "Fleet") -> str | None:
    """Start and end a throw-away instance on the home's file system. None, or what was said as it failed."""
    box = fleet.sandbox
    with tempfile.TemporaryDirectory(dir=fleet.home.path, prefix=".probe-") as name:
        place = Path(name)
        parts = [place / part for part in ("lower", "upper", "work")]
        for part in parts:
            part.mkdir()
        for path in (place, *parts):
            os.chmod(path, 0o755)  # noqa: S103  entered by the instance's root, which owns nothing above
        box.tier.own(place, *parts)
        console = sandbox.memory_file("console", b"")
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        ended, status = os.pipe2(os.O_CLOEXEC)
        at = Path(STAGE, "probe") if box.tier.map else place
        overlay = ["--overlay-src", f"{at}/lower", "--overlay", f"{at}/upper", f"{at}/work", "/mnt"]
        options = ["--ro-bind", "/", "/", *overlay, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"]
        try:
            await box.launch(
                [*options, "--file", "8", "/run/init"],
                ["/bin/sh", "-c", "echo ready >&6"],
                sandbox.Descriptors(fleet.devnull, console, lock, status),
                [],
                {"probe": place},
            )
            return None
        except errors.Fatal as error:
            return os.pread(console, 4000, 0).decode(errors="replace").strip() or str(error)
        finally:
            os.close(status)
            while await asyncio.to_thread(os.read, ended, 4096):
                pass  # bwrap holds the other end: nothing of it is left when this one is at its end
            for fd in (console, lock, ended):
                os.close(fd)
