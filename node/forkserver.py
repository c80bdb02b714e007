"""The process that enters instances: it forks, joins namespaces and execs, so that the agent never does.

Run as a script by `node.spawner` with an empty environment; imports only the standard library. It holds no secret:
a session's process is for a moment a copy of this one, *inside* the instance, where others can look at it. Hence the
empty environment, the closed descriptors and PR_SET_DUMPABLE 0 before anything else. A fork costs 1 ms where starting
a Python costs 25, and that is most of what a login waits for.

Requests are datagrams on descriptor 0: JSON plus descriptors, the first of which is the socket to report on. After
`setns` a child has the instance's file system but still the host's process ids, so from there until it has forked it
must load nothing from disk: no imports, no codecs, nothing but system calls.
This file is long because it is alone: it may import nothing of ours.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
import termios

MAX_REQUEST = 1 << 18
MAX_FDS = 24
REPORT = 200  # the report socket's number in a child: above all that `place` hands out
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID = 0x1000, 0x4000, 0x40000, 0x2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 4, 22, 2
STAGE = "/tmp"  # noqa: S108  where a root launch binds what bwrap needs, in a mount namespace of its own

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError for a libc call that answered -1, saying what was tried."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def set_dumpable(allowed: bool) -> None:
    """Whether processes of the same user may look into this one's memory, environment and descriptors."""
    check(libc.prctl(PR_SET_DUMPABLE, int(allowed), 0, 0, 0), "prctl")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [value.encode() if value is not None else None for value in (source, target, kind, options)]
    check(libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), f"mount {target}")


def tell(report: socket.socket, **facts) -> None:
    with contextlib.suppress(OSError):  # the agent is gone; what runs in the instance goes on
        report.send(json.dumps(facts).encode())


def place(fds: list[int]) -> None:
    """Make `fds` the descriptors 0, 1, 2, ... and close all others but the report socket."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, REPORT // 2) for fd in fds]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    os.closerange(len(fds), REPORT)
    os.closerange(REPORT + 1, 1 << 20)


def make_expendable(points: int) -> None:
    """Have the kernel, short of memory, end this sooner than the host's own processes. Only outside an instance."""
    set_dumpable(True)  # an ordinary user may write its own /proc/self only so
    with open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write(str(points))
    set_dumpable(False)


def join_cgroups(fds: list[int]) -> None:
    for fd in fds:
        os.write(fd, b"0")


def load_seccomp(fd: int) -> None:
    """Install the filter in `fd`; the capabilities that setns gave us stand in for no_new_privs, which forbids sudo."""
    program = os.pread(fd, 1 << 16, 0)
    if not program:
        return  # a machine without a table of its system calls
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0), "seccomp")


def become_instance_root(base: int, size: int) -> None:
    """Enter a new user namespace whose ids 0..size-1 are the host's base..base+size-1.

    The maps can only be written from outside, so a helper forked before the unshare writes them.
    """
    pid = os.getpid()
    go_read, go_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.read(go_read, 1)
            for name in ("uid_map", "gid_map"):
                fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
                os.write(fd, f"0 {base} {size}\n".encode())
            code = 0
        finally:
            os._exit(code)
    check(libc.unshare(CLONE_NEWUSER), "unshare user namespace")
    os.write(go_write, b"x")
    if os.waitpid(helper, 0)[1]:
        raise OSError("the user namespace's map could not be written")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def launch(request: dict, report: socket.socket, fds: list[int]) -> None:
    """Exec bwrap, detached unless `bound`. The descriptors after the cgroups become 0, 1, 2, ... of bwrap."""
    cgroups, fds = fds[: request["cgroups"]], fds[request["cgroups"] :]
    os.setsid()
    make_expendable(500)
    set_dumpable(True)  # what is executed now may be looked at
    join_cgroups(cgroups)
    if request["map"]:
        check(libc.unshare(CLONE_NEWNS), "unshare mount namespace")
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        # Opened before the stage covers what is below it, and in the namespace in which they are bound.
        sources = {name: os.open(path, os.O_PATH) for name, path in request["places"].items()}
        mount("none", STAGE, "tmpfs", MS_NOSUID, "mode=0755")
        for name, source in sources.items():
            if stat.S_ISDIR(os.fstat(source).st_mode):
                os.mkdir(f"{STAGE}/{name}")
            else:
                os.close(os.open(f"{STAGE}/{name}", os.O_CREAT, 0o600))
            mount(f"/proc/self/fd/{source}", f"{STAGE}/{name}", None, MS_BIND | MS_REC)
        become_instance_root(*request["map"])
    place(fds)
    os.execve(request["argv"][0], request["argv"], {})


def enter(request: dict, report: socket.socket, fds: list[int]) -> None:
    """Run a command in the instance of the pidfd `fds[0]` and report its end.

    `fds`: pidfd, seccomp program, cgroups, then stdin, stdout, stderr unless a terminal is asked for; its master is
    sent back with the report.
    """
    pidfd, seccomp, *rest = fds
    cgroups, stdio = rest[: request["cgroups"]], rest[request["cgroups"] :]
    make_expendable(600)  # sooner than the instance's first process, without which all others would end
    check(libc.setns(pidfd, request["namespaces"]), "enter the instance")
    # In this order: dropping the user first would drop the right to change the groups.
    if request["drop_groups"]:
        os.setgroups([])
    os.setresgid(*[request["gid"]] * 3)
    os.setresuid(*[request["uid"]] * 3)
    child = os.fork()
    if child == 0:
        session(request, report, seccomp, cgroups, stdio)
    place([])
    tell(report, pid=child)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    tell(report, exit=max(code, 0), signal=max(-code, 0))


def session(request: dict, report: socket.socket, seccomp: int, cgroups: list[int], stdio: list[int]) -> None:
    """The forked half of `enter`, wholly inside: terminal, limits, filter, exec. Never returns."""
    try:
        join_cgroups(cgroups)
        os.setsid()
        if request["terminal"]:
            master, slave = os.openpty()
            columns, rows = request["terminal"]
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            socket.send_fds(report, [b'{"master": true}'], [master])
            stdio = [slave] * 3
        for name, value in request["rlimits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        load_seccomp(seccomp)
        os.umask(0o022)
        try:
            os.chdir(request["cwd"])
        except OSError:
            os.chdir("/")
        place(stdio)
        if request["sftp"]:
            serve_sftp()
        os.execve(request["file"], request["argv"], request["env"])
    except BaseException as error:
        tell(report, error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(127)


def serve_sftp() -> None:
    """Serve SFTP on standard input and output by asyncssh, imported before the instance was entered."""
    from node import sftp

    sftp.serve()
    os._exit(0)


def sockets(request: dict, report: socket.socket, fds: list[int]) -> None:
    """Make a TCP socket inside the instance's network and send it out: listening, or connected to a port there.

    A socket keeps the network it was made in, so the agent can serve it from outside.
    """
    check(libc.setns(fds[0], CLONE_NEWUSER | CLONE_NEWNET), "enter the instance's network")
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    address = ("127.0.0.1", request["port"])
    if request["listen"]:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(64)
    else:
        made.settimeout(10)
        made.connect(address)
    socket.send_fds(report, [b"{}"], [made.fileno()])


def end_with_parent() -> None:
    parent = os.getppid()
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        raise SystemExit(1)  # it ended just before


def remove(request: dict, report: socket.socket, fds: list[int]) -> None:
    """`rm -rf` with the rights to read directories that their owner closed, but to nothing that is not the agent's.

    It ends with the agent, which goes on with what is left in the trash when it comes back.
    """
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        set_dumpable(True)
        check(libc.unshare(CLONE_NEWUSER), "unshare user namespace")
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    end_with_parent()  # after the user namespace: new rights make the kernel forget it
    child = os.fork()
    if child == 0:
        end_with_parent()
        place(fds)
        os.execve("/bin/rm", ["rm", "-rf", "--", *request["paths"]], {})
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tell(report, exit=code)


VERBS = {"launch": launch, "enter": enter, "sockets": sockets, "remove": remove}


def handle(message: bytes, fds: list[int]) -> None:
    """Carry out one request in a child of its own; never returns."""
    report = socket.socket(fileno=os.dup2(fds[0], REPORT, inheritable=False))
    try:
        for ignored in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_DFL)  # an ignored signal stays ignored through exec
        request = json.loads(message)
        VERBS[request["verb"]](request, report, fds[1:])
    except BaseException as error:
        number = error.errno if isinstance(error, OSError) else 0
        tell(report, error=str(error), errno=number)
    finally:
        os._exit(0)


def alive(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def end(bound: dict[int, int]) -> None:
    """Kill the launches that are to end with us, each with its whole process group.

    Their parent-death signal does most of that, but bwrap's child waits for bwrap before it asks for one.
    """
    for pid in [pid for pid, fd in bound.items() if alive(fd)]:
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)


def main() -> None:
    set_dumpable(False)
    os.closerange(3, 1 << 16)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, which then closes our socket
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for our children: let the kernel reap them
    if len(sys.argv) > 1:  # the module search path of the agent: this server is to serve SFTP
        sys.path[:] = sys.argv[1].split(os.pathsep)
        import asyncssh.sftp  # noqa: F401  loaded here, because inside an instance it could not be found

        from node import sftp  # noqa: F401
    requests = socket.socket(fileno=0)
    bound: dict[int, int] = {}  # launches that end with us, and a descriptor of each
    while True:
        message, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST, MAX_FDS)
        if not message:
            return end(bound)
        pid = os.fork()
        if pid == 0:
            os.close(0)
            handle(message, fds)
        if b'"bound": true' in message:
            for old in [key for key, fd in bound.items() if not alive(fd)]:
                os.close(bound.pop(old))
            with contextlib.suppress(ProcessLookupError):
                bound[pid] = os.pidfd_open(pid)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    main()
