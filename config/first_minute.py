"""What `up` shows once everything answers: a demo instance, and a banner whose lines work when pasted.

Goes through the API as any client does, so that what it prints has just been tried.
"""

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from django.conf import settings

from config.demo import EMAIL, NAME, Demo

PATIENCE = 60  # seconds until the banner comes even if something is not ready
HELLO = "hello"

INSTANCE = {"instance_type": "compute-1x", "region": "us-east-1", "image": "ubuntu-22.04", "ssh_keys": [NAME]}


def begin(local: str, url: str, demo: Demo | None) -> None:
    """`local` is where this machine reaches the web process, `url` what people are shown."""
    missing = wait_until_ready(local)
    ssh = problem = ""
    if demo and not missing:
        ssh, problem = hello_instance(local, demo)
    print(banner(url, demo, ssh, [*missing, *([problem] if problem else [])]), flush=True)


def wait_until_ready(local: str) -> list[str]:
    """Empty when `/readyz` says so, else what was still missing when patience ran out."""
    deadline = time.monotonic() + PATIENCE
    missing = {"web": "the web process does not answer"}
    while time.monotonic() < deadline:
        try:
            status, answer = ask("GET", local + "/readyz")
            if status == 200:
                return []
            missing = answer.get("missing", missing)
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    return [f"{part}: {words}" for part, words in missing.items()]


def hello_instance(local: str, demo: Demo) -> tuple[str, str]:
    """Find or make the demo instance. Returns the ssh command and, if there is none, why: nothing where people stopped
    it themselves."""
    try:
        ask("POST", f"{local}/v1/ssh-keys", demo.api_key, {"name": NAME, "public_key": demo.ssh_public_key})  # or 409
        status, found = ask("GET", f"{local}/v1/instances?name={HELLO}", demo.api_key)
        instance = found["data"][0] if status == 200 and found["data"] else None
        if status == 200 and instance is None:
            status, found = ask("POST", f"{local}/v1/instances", demo.api_key, {"name": HELLO, **INSTANCE})
            instance = found.get("data")
        if not instance:
            return "", f"the demo instance could not be made: {found['error']['message']}"
        address = f"{local}/v1/instances/{instance['id']}"
        ask("GET", f"{address}/wait?status=running&timeout=30", demo.api_key)
        instance = ask("GET", address, demo.api_key)[1]["data"]
        if instance["status"] == "stopped":
            return "", ""
        if not instance["ssh"]:
            return "", f"instance {HELLO} is {instance['status']}: {instance['status_reason']}"
        write_ssh_config(instance["ssh"], demo)
    except (OSError, ValueError, KeyError) as error:
        return "", f"the demo instance could not be made: {error!r}"
    return f"ssh -F {shown(ssh_config())} {HELLO}", ""


def ask(method: str, url: str, key: str = "", body: Any = None) -> tuple[int, dict[str, Any]]:
    """One API call: status and JSON. Refusals are answers too; raises OSError when nobody answers."""
    request = urllib.request.Request(  # noqa: S310  (the URL is ours)
        url, method=method, headers={"Content-Type": "application/json"}
    )
    if key:  # urllib, as most clients, refuses to send λ itself
        request.add_header("Authorization", f"Bearer {key.replace('λ', '%CE%BB')}")
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=40) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def ssh_config() -> Path:
    path: Path = settings.LAMBDA_HOME / "demo_ssh_config"
    return path


def write_ssh_config(ssh: dict[str, Any], demo: Demo) -> None:
    """So that `ssh`, `scp` and `sftp -F` reach the instance by name. With known hosts of its own: after `--fresh` the
    same address belongs to another machine, and ssh would rightly cry."""
    ssh_config().write_text(
        f"Host {HELLO}\n  HostName {ssh['host']}\n  Port {ssh['port']}\n\n"
        f'Host *\n  User {ssh["user"]}\n  IdentityFile "{demo.ssh_key}"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{settings.LAMBDA_HOME / "demo_known_hosts"}"\n  StrictHostKeyChecking accept-new\n'
    )


def banner(url: str, demo: Demo | None, ssh: str, missing: list[str]) -> str:
    title = "Lambda is up" if not missing else "Lambda is up, but not everything works"
    lines = ["", f"  λ  {title}", ""]
    lines += [f"     Missing     {problem}" for problem in missing] + ([""] if missing else [])
    lines.append(f"     Dashboard   {url}/")
    if demo:
        create = f"-H 'Content-Type: application/json' -d '{json.dumps({'name': 'my-instance', **INSTANCE})}'"
        lines += [
            f"     Sign in     {EMAIL} / {demo.password}",
            f"     API         {url}/v1/     its reference {url}/docs",
            f"     API key     {demo.api_key}",
            f"     Admin       {url}/admin/   (the same sign-in)",
            f"                 all of it is also in {shown(settings.LAMBDA_HOME / 'demo.env')}",
            "",
            "     Try it",
            f'     curl -H "Authorization: Bearer {demo.api_key}" {url}/v1/instances',
            "",
            f'     curl -X POST {url}/v1/instances -H "Authorization: Bearer {demo.api_key}" {create}',
            "",
        ]
        lines += [f"     {ssh}", ""] if ssh else []
    else:
        lines += [
            f"     API         {url}/v1/",
            "     Account     python3 manage.py create_account NAME --owner EMAIL --plan enterprise",
            "",
        ]
    return "\n".join([*lines, "     Stop        Ctrl-C     Start anew   python3 manage.py up --fresh", ""])


def shown(path: Path) -> str:
    """As short as it can be pasted."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
