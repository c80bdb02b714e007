"""What a function may be called, and what its configuration may say. A rule answers what is wrong; no rows, no HTTP."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import FieldError

MEMORY = (128, 10_240)  # MB
TIMEOUT = (1, 900)  # seconds
CONCURRENCY = (1, 1_000)
MAX_TAGS = 50
MAX_ENVIRONMENT = 32 * 1024  # bytes of names and values, secrets included
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
HANDLER = re.compile(r"[\w-]+(?:[./][\w-]+)*\.[A-Za-z_$][\w$]*", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# What the runner itself says to a function, or what would change the runtime under it.
RESERVED = re.compile(r"(AWS_LAMBDA_|LAMBDA_|LD_|_HANDLER$|_X_AMZN_|PYTHON|NODE_OPTIONS$|PATH$)")


def runtime(text: str) -> str:
    """The name of a runtime in any of its spellings: `Node.js 20`, `nodejs20.x` and `nodejs20` are one."""
    plain = re.sub(r"[\s_-]", "", text.lower()).replace("node.js", "nodejs")
    return re.sub(r"^(nodejs\d+)(\.x|\.\d+)*$", r"\1", plain)


def runtime_errors(text: str, offered: list[dict[str, Any]]) -> list[FieldError]:
    """`offered` are the node's runtimes; before any is known, the build will tell."""
    name = runtime(text)
    known = [one["name"] for one in offered]
    if name in known or (not known and re.fullmatch(r"nodejs\d+|python3\.\d+", name)):
        return []
    labels = ", ".join(f"{one['label']} ({one['name']})" for one in offered) or "none yet"
    return [FieldError("runtime", f"There is no runtime '{text[:50]}' here. There are: {labels}", text, known)]


def name_errors(name: str) -> list[FieldError]:
    if NAME.fullmatch(name):
        return []
    message = "name must have 1 to 64 letters, digits, - and _, and begin and end with a letter or digit"
    return [FieldError("name", message, name)]


def handler_errors(handler: str) -> list[FieldError]:
    if HANDLER.fullmatch(handler) and len(handler) <= 128:
        return []
    message = "handler must name a file and a function in it, e.g. app.handler for the function handler of app.py"
    return [FieldError("handler", message, handler)]


def range_errors(field: str, value: int, allowed: tuple[int, int], unit: str) -> list[FieldError]:
    low, high = allowed
    if low <= value <= high:
        return []
    return [FieldError(field, f"{field} must be from {low} to {high}{unit}", value)]


def tag_errors(tags: Iterable[str]) -> list[FieldError]:
    tags = list(tags)
    if len(tags) > MAX_TAGS:
        return [FieldError("tags", f"At most {MAX_TAGS} tags are allowed, not {len(tags)}", len(tags))]
    return [FieldError("tags", "A tag has 1 to 64 characters", tag) for tag in tags if not 1 <= len(tag) <= 64]


def environment_errors(env: Mapping[str, str], secrets: Mapping[str, str]) -> list[FieldError]:
    """Of a secret only the name is repeated."""
    found = []
    for field, values in (("env", env), ("secrets", secrets)):
        for name, value in values.items():
            if not VARIABLE.fullmatch(name):
                message = "A variable's name has 1 to 128 letters, digits and _, and begins with no digit"
                found.append(FieldError(f"{field}.{name[:64]}", message, name[:200]))
            elif RESERVED.match(name):
                found.append(FieldError(f"{field}.{name}", f"{name} is the platform's own: choose another name", name))
            elif "\x00" in value:
                found.append(FieldError(f"{field}.{name}", "A value has no NUL character", name))
    found += [
        FieldError(f"secrets.{name}", f"{name} is in env and in secrets: keep it in one of them", name)
        for name in sorted(env.keys() & secrets.keys())
    ]
    size = sum(len(f"{name}{value}".encode()) for values in (env, secrets) for name, value in values.items())
    if size > MAX_ENVIRONMENT:
        message = f"env and secrets together may have {MAX_ENVIRONMENT} bytes, not {size}"
        found.append(FieldError("env", message, f"({size} bytes)"))
    return found
