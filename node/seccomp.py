"""The system calls that an instance may not make, as a classic BPF program for bwrap and for every session.

A deny list of doors into the kernel that no ordinary program of an instance needs and where kernel bugs were found:
keyrings are not namespaced, BPF, io_uring, userfaultfd and perf reach deep, the rest only root of a machine may use.
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
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of DENIED, AUDIT_ARCH_*
X32 = 0x40000000  # x86_64 numbers with this bit mean another table, which nothing needs
LOAD, EQUAL, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE, NO_SUCH_CALL = 0x7FFF0000, 0x00050001, 0x00050026  # SECCOMP_RET_*: EPERM is 1, ENOSYS 38


def program() -> bytes:
    """The filter for this machine, an array of `struct sock_filter`; empty on a machine we have no table for."""
    if platform.machine() not in MACHINES:
        return b""
    column, architecture = MACHINES[platform.machine()]
    numbers = sorted(entry[column] for entry in DENIED.values())
    # (code, jump if true, jump if false, value); jumps count the instructions to skip.
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (ANSWER, 0, 0, NO_SUCH_CALL), (LOAD, 0, 0, 0)]
    lines += [(AT_LEAST, 0, 1, X32), (ANSWER, 0, 0, NO_SUCH_CALL)]
    lines += [(EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(ANSWER, 0, 0, ALLOW), (ANSWER, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def program_fd() -> int:
    """The filter in a memory file. One for each bwrap, which reads on from the file's position."""
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(fd, program())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
