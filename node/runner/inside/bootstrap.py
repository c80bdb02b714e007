"""Runs in a function's sandbox: takes code and events from descriptor 4 and calls the user's handler, written for AWS.

A script of its own, started by `python -I -S`, so it imports nothing but what every call needs; the rest is imported
where something went wrong. Nothing here is trusted by the runner, for the user's code can change all of it.
A frame is u32 length, one letter, payload: `I` init and `V` invoke in; `R` ready, `L` loaded, `F` not loaded,
`O` result and `X` failure out. Every answer to an `V` begins with the id that came with it.
"""

import json
import os
import sys
import time

FD = 4
TASK = "/var/task"
MAX_RESULT = 6 * 1024 * 1024  # bytes


def send(kind, payload):
    rest = memoryview(len(payload).to_bytes(4, "big") + kind + payload)
    while rest:
        rest = rest[os.write(FD, rest) :]


def receive():
    """The next frame, (kind, payload). Ends the process when the runner is gone."""
    data = os.read(FD, 65536)
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[:4], "big"):
        more = os.read(FD, 1 << 20)
        if not more:
            os._exit(0)
        data = data + more
    return data[4:5], data[5:]


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """What AWS documents for Python, and its `log` method."""

    client_context = None
    identity = Identity()

    def __init__(self, config, request_id, deadline_ms):
        self.function_name = config["name"]
        self.function_version = config["version"]
        self.invoked_function_arn = config["arn"]
        self.memory_limit_in_mb = config["memory_mb"]
        self.log_group_name = config["log_group"]
        self.log_stream_name = config["log_stream"]
        self.aws_request_id = request_id
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, int(self._deadline_ms - time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class Unloadable(Exception):
    """The handler cannot be found; `args` are the type and the message to report."""


def unpack(config, contents):
    """Write small code to the task's directory; larger code is mounted there already."""
    at = 0
    for name, size, mode in config["files"]:
        path = os.path.join(TASK, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        while size:
            done = os.write(fd, contents[at : at + size])
            at, size = at + done, size - done
        os.close(fd)


def load(handler):
    module_name, dot, name = handler.rpartition(".")
    if not dot or not module_name:
        raise Unloadable("Runtime.MalformedHandlerName", f"The handler '{handler}' must be module.function.")
    module_name = module_name.replace("/", ".")
    try:
        __import__(module_name)
    except ImportError as error:
        raise Unloadable("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise Unloadable("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    found = getattr(sys.modules[module_name], name, None)
    if found is None:
        raise Unloadable("Runtime.HandlerNotFound", f"Handler '{name}' missing on module '{module_name}'")
    return found


def report(kind, error, request_id=b"", told=None):
    """Send a failure with the user's own part of its stack, and print it as AWS does.

    `told` is what we say of it ourselves, type and message; then there is a stack only where loading failed.
    """
    import traceback

    name, message = told or (type(error).__name__, str(error))
    cause = (error.__cause__ or error) if told else error
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not ours(frame.filename)]
    stack = [] if kind == b"X" and told else traceback.format_list(frames)
    if isinstance(cause, SyntaxError):
        stack += traceback.format_exception_only(cause)
    head = "Traceback (most recent call last):\n" if stack else ""
    print(f"[ERROR] {name}: {message}\n{head}{''.join(stack)}", end="", flush=True)
    body = {"type": name, "message": message[:65536], "stack": [line.rstrip("\n")[:4096] for line in stack[-100:]]}
    send(kind, request_id + json.dumps(body).encode("utf-8", "replace"))


def ours(filename):
    return filename == __file__ or filename.startswith("<frozen importlib")


def show_logging(state):
    """Give the root logger a handler as AWS does, once the user's code has imported logging."""
    if "shown" in state or "logging" not in sys.modules:
        return
    import logging

    def add_id(record):
        record.aws_request_id = state["id"]
        return True

    state["shown"] = True
    if not logging.root.handlers:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        handler = logging.StreamHandler(sys.stdout)
        formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        handler.addFilter(add_id)
        logging.root.addHandler(handler)


def start():
    """Take the code and load the handler; (config, handler), or None when that failed."""
    _, payload = receive()
    size = int.from_bytes(payload[:4], "big")
    config = json.loads(payload[4 : 4 + size])
    os.environ.update(config["env"])
    sys.path.insert(0, TASK)
    sys.argv = [""]
    try:
        unpack(config, memoryview(payload)[4 + size :])
        handler = load(config["handler"])
    except Unloadable as error:
        report(b"F", error, told=error.args)
    except Exception as error:
        report(b"F", error)
    else:
        return config, handler
    return None


def call(handler, config, payload, state):
    """One invocation. What the handler raises is its answer; SystemExit ends the process, as it says."""
    size = payload[0]
    request_id = payload[: size + 1]
    deadline_ms = int.from_bytes(payload[size + 1 : size + 9], "big")
    try:
        event = json.loads(payload[size + 9 :])
    except ValueError as error:
        return report(b"X", error, request_id, ("Runtime.UnmarshalError", f"The event is not JSON: {error}"))
    try:
        state["id"] = request_id[1:].decode()
        show_logging(state)
        result = handler(event, Context(config, state["id"], deadline_ms))
    except Exception as error:
        return report(b"X", error, request_id)
    try:
        answer = json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"Unable to marshal response: {error}"
        return report(b"X", error, request_id, ("Runtime.MarshalError", text))
    if len(answer) > MAX_RESULT:
        text = f"The result has {len(answer)} bytes; {MAX_RESULT} are allowed."
        return report(b"X", ValueError(), request_id, ("Function.ResponseSizeTooLarge", text))
    sys.stdout.flush()
    return send(b"O", request_id + answer)


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.dont_write_bytecode = True
    send(b"R", b"")
    started = start()
    sys.stdout.flush()
    if started is None:
        return
    config, handler = started
    state: dict = {}
    send(b"L", b"")
    while True:
        _, payload = receive()
        call(handler, config, payload, state)


main()
