"""Schemathesis against a running server, with the keys of two accounts that must not see each other's things.

It reads our OpenAPI document, sends what that allows and what it forbids, follows ids from answer to request, and
compares every answer with the document. It deletes what it can reach: the database is this test's own.
"""

import json
import subprocess
import sys

import pytest

from api import limits
from catalog.models import Plan
from core.models import Event
from tests.make import make_account, make_function, make_instance, make_key

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

SECONDS = 100
# positive_data_acceptance: which regions, types and images there are, the catalogue says and not the document.
CHECKS = ["--checks=all", "--exclude-checks=positive_data_acceptance"]
# What would take its own keys away from it; test_contract.py and tests/accounts test these.
KEYS = "--exclude-path-regex=^/v1/account/api-keys/"
CONFIG = """
[auth.wfc]
path = "{users}"
peers = ["alice", "charlie"]

[parameters]
timeout = 1
wait = 1

# 404 and 412 may come first: whether a body makes sense is asked when there is something to change.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "402", "403", "404", "405", "406", "409", "412", "413", "415", "422", "429", "5xx"]
"""


def test_whatever_two_strangers_send_the_server_answers_as_documented(live_server, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ANONYMOUS", limits.Limit(hour=10**7, burst=10**6))  # it asks without a key too
    Plan.objects.update(requests_per_hour=10**7, burst=10**6)
    users = []
    for name in ("alice", "charlie"):
        account = make_account(name=name)
        make_instance(account)
        make_function(account)
        bearer = f"Bearer {make_key(account)[1].key_ascii}"
        users.append({"name": name, "fixedHeaders": [{"name": "Authorization", "value": bearer}]})
    (tmp_path / "users.json").write_text(json.dumps({"auth": users}))
    (tmp_path / "schemathesis.toml").write_text(CONFIG.format(users=tmp_path / "users.json"))
    before = Event.objects.count()
    command = ["-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    options = [
        "--url",
        live_server.url,
        "--max-examples=15",
        f"--max-time={SECONDS}",
        "--seed=1",
        "--request-timeout=20",
    ]
    done = subprocess.run(
        [sys.executable, *command, f"{live_server.url}/v1/openapi.json", *options, *CHECKS, KEYS],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS * 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert Event.objects.count() > before + 10, "it changed next to nothing: see why\n" + done.stdout[-5_000:]
