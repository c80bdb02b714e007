"""What a function must not see, reach or exhaust, tried from inside, while another account's function goes on answering.

Long, because it is one table: every attack that we know, in one place.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.node.runners import RunnerProcess


@pytest.fixture(scope="module")
def hello(runner: RunnerProcess) -> str:
    code = "def handler(event, context):\n    return 'hello'\n"
    return runner.deploy(code, account="bob", name="hello")


@pytest.fixture(autouse=True)
def neighbour(runner: RunnerProcess, hello: str) -> Iterator[None]:
    """Bob calls his function all through Alice's attack; every call must succeed."""
    done, answers = threading.Event(), []

    def call() -> None:
        while not done.is_set() or not answers:
            answers.append(runner.invoke(hello).result)
            done.wait(0.02)

    thread = threading.Thread(target=call)
    thread.start()
    yield
    done.set()
    thread.join()
    assert set(answers) == {b'"hello"'}


def result(outcome):
    assert outcome.status == "succeeded", outcome
    return json.loads(outcome.result)


BOMB = """
import os, signal
def handler(event, context):
    children = []
    try:
        while len(children) < 2000:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    except BlockingIOError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(children)
"""


def test_a_fork_bomb_stops_at_the_limit_of_processes(runner):
    assert 10 < result(runner.run(BOMB)) < 64


def test_a_thread_bomb_stops_at_the_limit_of_processes(runner):
    code = """
    import threading
    def handler(event, context):
        stop, count = threading.Event(), 0
        try:
            while count < 2000:
                threading.Thread(target=stop.wait, daemon=True).start()
                count += 1
        except RuntimeError:
            pass
        stop.set()
        return count
    """
    assert 10 < result(runner.run(code)) < 64


def test_a_spawn_bomb_of_node_stops_at_the_limit_of_processes(runner):
    code = """
    const { spawn } = require("child_process");
    exports.handler = async () => {
      const children = [];
      for (;;) {
        const child = spawn("/usr/bin/sleep", ["100"], { stdio: "ignore" });
        const ok = await new Promise((resolve) => { child.on("error", () => resolve(false)); child.on("spawn", () => resolve(true)); });
        if (!ok || children.length > 2000) break;
        children.push(child);
      }
      children.forEach((child) => child.kill("SIGKILL"));
      return children.length;
    };
    """
    assert 5 < result(runner.run(code, family="node", memory_mb=512, timeout_ms=20000)) < 64


def test_a_memory_bomb_is_ended_and_named(runner):
    code = """
    def handler(event, context):
        print("before the bomb")
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))
    """
    outcome = runner.run(code)
    assert outcome.error.type == "Runtime.OutOfMemory"
    assert "128 MB" in outcome.error.message
    assert "before the bomb" in outcome.log_tail
    assert outcome.max_memory_mb >= 100


@pytest.mark.parametrize(
    "how",
    [
        "fd = os.memfd_create('x')",
        "fd = os.open('/dev/shm/x', os.O_CREAT | os.O_RDWR)",
        "fd = os.open('/tmp/x', os.O_CREAT | os.O_RDWR)",
        "fd = os.open('/var/task/x', os.O_CREAT | os.O_RDWR)",
        "fd = os.open('/dev/x', os.O_CREAT | os.O_RDWR)",
    ],
)
def test_memory_that_is_a_file_is_counted_or_small(runner, how):
    code = f"""
    import os
    def handler(event, context):
        {how}
        size = 0
        for _ in range(1000):
            size += os.write(fd, bytes(1 << 20))
        return size
    """
    outcome = runner.run(code, timeout_ms=20000)
    if runner.driver.status()["memory_limits"] == "enforced":
        assert outcome.error.type in ("Runtime.OutOfMemory", "OSError"), outcome
    else:
        assert outcome.error.type in ("PermissionError", "OSError"), outcome
    assert outcome.max_memory_mb <= 128


def test_shared_memory_of_system_v_is_counted_or_refused(runner):
    code = """
    import ctypes
    def handler(event, context):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        size = 0
        for _ in range(64):
            one = libc.shmget(0, 16 << 20, 0o1600)
            if one == -1:
                return ctypes.get_errno()
            ctypes.memset(libc.shmat(one, None, 0), 1, 16 << 20)
        return 0
    """
    outcome = runner.run(code, timeout_ms=20000)
    if runner.driver.status()["memory_limits"] == "enforced":
        assert outcome.error.type == "Runtime.OutOfMemory"
    else:
        assert result(outcome) == 1


def test_an_endless_loop_that_ignores_every_signal_ends_at_its_time_out(runner):
    code = """
    import signal
    def handler(event, context):
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        print("on and on")
        while True:
            pass
    """
    outcome = runner.run(code, timeout_ms=300)
    assert outcome.error.type == "Function.Timeout"
    assert "on and on" in outcome.log_tail
    assert "Status: timeout" in outcome.log_tail
    assert 300 <= outcome.duration_us / 1000 < 3000


@pytest.mark.slow
def test_code_that_never_finishes_loading_ends_at_the_time_for_that(runner):
    outcome = runner.run("import time\nprint('loading')\nwhile True:\n    time.sleep(1)\n")
    assert outcome.error.type == "Init.Timeout"
    assert "loading" in outcome.log_tail


def test_nothing_of_the_host_is_there_to_be_read(runner):
    """Long, because all that can be seen is looked at in one call."""
    code = """
    import os, subprocess
    def look(path):
        try:
            return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read().decode(errors="replace")
        except OSError:
            return None
    def handler(event, context):
        return {
            "root": sorted(os.listdir("/")),
            "secrets": [look(path) for path in ("/etc/shadow", "/root/.ssh", "/home", "/work", "/srv", "/var/lib", "/boot", "/sys")],
            "passwd": look("/etc/passwd"),
            "environment": dict(os.environ),
            "init": look("/proc/1/environ"),
            "command": look("/proc/1/cmdline"),
            "pids": [name for name in os.listdir("/proc") if name.isdigit()],
            "devices": sorted(os.listdir("/dev")),
            "fds": sorted(os.listdir("/proc/self/fd")),
            "ids": [os.getuid() in (0, 1000), os.getgroups()],
            "status": subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout,
        }
    """
    seen = result(runner.run(code, env={"COLOUR": "blue"}))
    assert set(seen["root"]) <= {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "root",
        "sbin",
        "tmp",
        "usr",
        "var",
    }
    assert seen["secrets"] == [None] * 8
    assert "lambda" in seen["passwd"]
    assert "daemon" not in seen["passwd"]
    assert seen["environment"].pop("COLOUR") == "blue"
    names = {"PATH", "LANG", "TZ", "HOME", "PWD", "_HANDLER", "LC_CTYPE"}
    assert all(name in names or name.startswith(("AWS_", "LAMBDA_")) for name in seen["environment"])
    assert str(runner.home) not in json.dumps([seen["command"], seen["init"], seen["environment"]])
    assert len(seen["pids"]) <= 3
    assert not {"kmsg", "mem", "sda", "vda", "fuse"} & set(seen["devices"])
    assert len(seen["fds"]) <= 6
    assert "NoNewPrivs:\t1" in seen["status"]
    assert "CapPrm:\t0000000000000000" in seen["status"]
    assert "Seccomp:\t2" in seen["status"]


def test_signals_reach_nothing_but_the_function_itself(runner):
    code = """
    import os, signal
    def handler(event, context):
        for pid in (1, os.getppid(), -1):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        return "still here"
    """
    revision = runner.deploy(code)
    assert result(runner.invoke(revision)) == "still here"
    assert result(runner.invoke(revision)) == "still here"


def test_no_network_reaches_the_host_or_beyond(runner):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        name = f"lambda-attack-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        code = f"""
        import socket
        def tried(family, address):
            try:
                with socket.socket(family) as sock:
                    sock.settimeout(1)
                    sock.connect(address)
                    return "connected"
            except OSError as error:
                return type(error).__name__
        def handler(event, context):
            return [
                tried(socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]})),
                tried(socket.AF_INET, ("192.0.2.1", 80)),
                tried(socket.AF_INET, ("169.254.169.254", 80)),
                tried(socket.AF_UNIX, "\\0{name}"),
                [name for _, name in socket.if_nameindex()],
            ]
        """
        *tries, interfaces = result(runner.run(code))
    assert "connected" not in tries
    assert interfaces == ["lo"]


def test_doors_into_the_kernel_are_closed(runner):
    code = """
    import ctypes, errno, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    def tried(name, *arguments):
        ctypes.set_errno(0)
        return errno.errorcode.get(ctypes.get_errno(), "allowed") if getattr(libc, name)(*arguments) == -1 else "allowed"
    def family(number):
        try:
            socket.socket(number, socket.SOCK_RAW if number == 17 else socket.SOCK_STREAM).close()
            return "allowed"
        except OSError as error:
            return errno.errorcode[error.errno]
    def handler(event, context):
        return {
            "mount": tried("mount", b"none", b"/tmp", b"tmpfs", 0, None),
            "unshare": tried("unshare", 0x10000000),
            "setns": tried("setns", 0, 0),
            "chroot": tried("chroot", b"/tmp"),
            "ptrace": tried("ptrace", 0, 0, 0, 0),
            "clone": tried("syscall", 56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0),
            "packet": family(17),
            "vsock": family(40),
            "write": [os.access(path, os.W_OK) for path in ("/", "/usr/bin", "/etc", "/etc/passwd", "/var/runtime", "/proc/sys/kernel/hostname")],
        }
    """
    seen = result(runner.run(code))
    assert {seen[name] for name in ("mount", "unshare", "setns", "chroot", "ptrace", "clone", "packet", "vsock")} == {
        "EPERM"
    }
    assert seen["write"] == [False] * 6 or runner.who.tier == "root", seen
    assert not any(seen["write"][:5])


def test_a_hundred_megabytes_of_print_are_dropped_but_for_both_ends(runner):
    code = """
    def handler(event, context):
        print("the beginning")
        line = "x" * (1 << 20)
        for _ in range(100):
            print(line)
        print("the end")
        return "done"
    """
    revision = runner.deploy(code, timeout_ms=30000)
    outcome = runner.invoke(revision, execution="exec_flood")
    assert result(outcome) == "done"
    assert "the end" in outcome.log_tail
    text = runner.driver.logs("exec_flood")
    assert "the beginning" in text
    assert "bytes left out" in text
    assert len(text) < 300_000


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("'x' * 7_000_000", "Function.ResponseSizeTooLarge"),
        ("{1, 2}", "Runtime.MarshalError"),
        ("float('nan')", "Runtime.MarshalError"),
        ("b'bytes'", "Runtime.MarshalError"),
    ],
)
def test_a_result_that_is_no_answer_is_a_typed_error(runner, expression, kind):
    revision = runner.deploy(f"def handler(event, context):\n    return {expression} if event else 'fine'\n")
    assert runner.invoke(revision, b"1").error.type == kind
    again = runner.invoke(revision, b"0")
    assert result(again) == "fine"
    assert again.cold_start is None


def test_a_result_of_node_that_is_too_large_is_a_typed_error(runner):
    outcome = runner.run('exports.handler = async () => "x".repeat(7000000);', family="node")
    assert outcome.error.type == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import os; os._exit(0)", "exit status 0"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    ],
)
def test_an_exit_is_told_with_its_status_and_what_was_printed(runner, statement, says):
    outcome = runner.run(f"def handler(event, context):\n    print('last words')\n    {statement}\n")
    assert outcome.error.type == "Runtime.ExitError"
    assert says in outcome.error.message
    assert "last words" in outcome.log_tail


def test_an_exit_of_node_is_told_with_its_status(runner):
    outcome = runner.run(
        'exports.handler = async () => { console.log("last words"); process.exit(7); };', family="node"
    )
    assert outcome.error.type == "Runtime.ExitError"
    assert "exit status 7" in outcome.error.message
    assert "last words" in outcome.log_tail


def test_an_exception_after_an_await_is_told_and_the_worker_replaced(runner):
    code = """
    exports.handler = async (event) => {
      if (event.good) return "fine";
      setTimeout(() => { throw new TypeError("too late"); }, 5);
      await new Promise((resolve) => setTimeout(resolve, 10000));
    };
    """
    revision = runner.deploy(code, family="node")
    outcome = runner.invoke(revision)
    assert outcome.error.type == "Runtime.UnhandledException"
    assert "TypeError: too late" in outcome.error.message
    after = runner.invoke(revision, b'{"good": true}')
    assert result(after) == "fine"
    assert after.cold_start == "replaced"


@pytest.mark.parametrize(
    "frame",
    [
        "b'\\x7f\\xff\\xff\\xff' + b'O'",
        "b'\\x00\\x00\\x00\\x01' + b'?' + b'x'",
        "b'\\x00\\x00\\x00\\x00' + b'O'",
        "b'\\x00\\x00\\x00\\x04' + b'X' + b'junk'",
        "b'\\x00\\x00\\x00\\x00' + b'L'",
    ],
)
def test_a_broken_frame_ends_the_worker_and_the_next_call_is_well(runner, frame):
    code = f"""
    import os, time
    def handler(event, context):
        if event:
            os.write(4, {frame})
            time.sleep(1000)
        return "fine"
    """
    revision = runner.deploy(code)
    assert runner.invoke(revision, b"1").error.type in ("Runtime.ProtocolError", "Function.Timeout")
    assert result(runner.invoke(revision, b"0")) == "fine"


def test_an_answer_forged_early_never_answers_a_later_call(runner):
    code = """
    import os
    def handler(event, context):
        if event["forge"]:
            name = context.aws_request_id.encode()
            body = bytes([len(name)]) + name + b'"forged"'
            os.write(4, len(body).to_bytes(4, "big") + b"O" + body)
        return event["n"]
    """
    revision = runner.deploy(code)
    first = runner.invoke(revision, b'{"forge": true, "n": 1}')
    assert result(first) in ("forged", 1)
    for n in range(2, 6):
        outcome = runner.invoke(revision, json.dumps({"forge": False, "n": n}).encode())
        assert outcome.error is not None or result(outcome) == n


@pytest.mark.slow
def test_a_thread_left_running_stands_still_between_calls(runner):
    code = """
    import threading, time
    turns = 0
    def work():
        global turns
        while True:
            turns += 1
            time.sleep(0.001)
    def handler(event, context):
        if event == "start":
            threading.Thread(target=work, daemon=True).start()
        return turns
    """
    revision = runner.deploy(code)
    runner.invoke(revision, b'"start"')
    # Warm sandboxes are looked at every 50 ms and stopped after 100; what is counted then, is counted by 300.
    time.sleep(0.3)
    before = result(runner.invoke(revision))
    time.sleep(1.3)
    assert result(runner.invoke(revision)) - before < 600


@pytest.mark.slow
def test_a_child_left_running_stands_still_as_well(runner):
    code = """
    import os, time
    def handler(event, context):
        if event == "start" and os.fork() == 0:
            while True:
                with open("/tmp/beat", "a") as file:
                    file.write("x")
                time.sleep(0.001)
        return os.path.getsize("/tmp/beat") if os.path.exists("/tmp/beat") else 0
    """
    revision = runner.deploy(code)
    runner.invoke(revision, b'"start"')
    time.sleep(0.3)
    before = result(runner.invoke(revision))
    time.sleep(1.3)
    assert result(runner.invoke(revision)) - before < 600


def test_a_file_left_behind_is_seen_by_the_same_function_only(runner):
    code = """
    import os
    def handler(event, context):
        found = os.listdir("/tmp")
        open("/tmp/secret", "w").close()
        return found
    """
    mine, other = runner.deploy(code), runner.deploy(code, account="bob")
    assert result(runner.invoke(mine)) == []
    assert result(runner.invoke(mine)) == ["secret"]
    assert result(runner.invoke(other)) == []


@pytest.mark.slow
def test_four_endless_loops_do_not_keep_a_neighbour_waiting(runner, hello):
    """The fixture's calls go on; here they must be many before the loops end."""
    loop = runner.deploy("def handler(event, context):\n    while True:\n        pass\n", timeout_ms=1000)
    threads = [threading.Thread(target=runner.invoke, args=(loop,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in threads):
        assert runner.invoke(hello).status == "succeeded"
        answered += 1
    for thread in threads:
        thread.join()
    assert answered > 20
