"""The system calls that an instance or a function may not make, as a classic BPF program for bwrap and every session.

A deny list of doors into the kernel that no ordinary program of an instance needs and where kernel bugs were found:
keyrings are not namespaced, BPF, io_uring, userfaultfd and perf reach deep, the rest only root of a machine may use.
A function, which is never root of anything, loses more: namespaces, mounts, tracing, rare kinds of sockets.
Everything else stays as it is for any user; this is a second wall, not the wall. Refused calls answer EPERM.
"""

import os
import platform
import struct

# name: (x86_64, aarch64); from the kernel's syscall tables, which never change.
DENIED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
}
DENIED_TO_FUNCTIONS = {
    "chroot": (161, 51),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "setns": (308, 268),
    "umount2": (166, 39),
    "unshare": (272, 97),
}
# Memory that no process seems to hold, so that only a cgroup can count it.
UNCOUNTED = {"memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194)}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* that clone(2) takes
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of DENIED, AUDIT_ARCH_*
X32 = 0x40000000  # x86_64 numbers with this bit mean another table, which nothing needs
LOAD, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
FIRST_ARGUMENT = 16  # its lower half in `struct seccomp_data`
ALLOW, REFUSE, NO_SUCH_CALL = 0x7FFF0000, 0x00050001, 0x00050026  # SECCOMP_RET_*: EPERM is 1, ENOSYS 38


Line = tuple[int, int, int, int]  # code, how many lines to skip if true, if false, value


def program(*, function: bool = False, counted: bool = True) -> bytes:
    """The filter for this machine, an array of `struct sock_filter`; empty on a machine we have no table for.

    `function` asks for the stricter one; `counted` says that a cgroup counts all of its memory.
    """
    if platform.machine() not in MACHINES:
        return b""
    column, architecture = MACHINES[platform.machine()]
    denied = {**DENIED, **(DENIED_TO_FUNCTIONS if function else {}), **({} if counted else UNCOUNTED)}
    numbers = sorted(entry[column] for entry in denied.values())
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (ANSWER, 0, 0, NO_SUCH_CALL), (LOAD, 0, 0, 0)]
    lines += [(AT_LEAST, 0, 1, X32), (ANSWER, 0, 0, NO_SUCH_CALL)]
    lines += guards(column) if function else []
    lines += [(EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(ANSWER, 0, 0, ALLOW), (ANSWER, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def guards(column: int) -> list[Line]:
    """Calls that depend on their first argument. What they let pass goes on after them, its number loaded again."""
    families: list[Line] = [(EQUAL, len(FAMILIES) - at, 0, family) for at, family in enumerate(FAMILIES)]
    return [
        (EQUAL, 0, 1, CLONE3[column]),  # its flags are in memory, where a filter cannot look: libraries fall back
        (ANSWER, 0, 0, NO_SUCH_CALL),
        (EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 0, 1, NEW_NAMESPACES),
        (ANSWER, 0, 0, REFUSE),
        (LOAD, 0, 0, 0),
        (EQUAL, 0, len(families) + 3, SOCKET[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        *families,
        (ANSWER, 0, 0, REFUSE),
        (LOAD, 0, 0, 0),
    ]


def program_fd(*, function: bool = False, counted: bool = True) -> int:
    """The filter in a memory file. One for each bwrap, which reads on from the file's position."""
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(fd, program(function=function, counted=counted))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
