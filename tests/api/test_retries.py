"""One idempotency key is one effect: sent two hundred times at once, or broken off between any two statements."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from django.db import close_old_connections, connection

from api.models import IdempotencyRecord
from compute.models import Instance
from core.models import Counter, Event, Resource
from tests import make, servers
from tests.live import ROOT, Live

pytestmark = pytest.mark.db


@contextmanager
def broken_off(at: int, *, after: bool) -> Iterator[list[str]]:
    """The connection is lost before or after statement number `at` is carried out. Yields the statements until then."""
    statements: list[str] = []

    def run(execute, sql, params, many, context):
        statements.append(sql)
        answer = execute(sql, params, many, context) if after or len(statements) - 1 != at else None
        if len(statements) - 1 == at:
            raw = connection.connection
            raw.rollback() if connection.vendor == "sqlite" else raw.close()  # SQLite has no server to lose
            with connection.wrap_database_errors:
                raise connection.Database.OperationalError("the server closed the connection unexpectedly")
        return answer

    with connection.execute_wrapper(run):
        yield statements
    close_old_connections()  # as between any two requests, outside of tests


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("after", [False, True], ids=["before a statement", "after a statement"])
def test_whichever_statement_it_breaks_off_at_the_retry_has_one_outcome(after):
    account = make.make_account()
    api = make.make_api(account)
    api.get("/instances")  # the key is known from here on: what follows is the write alone
    made = 0
    for at in range(100):
        key = f"key-{at}"
        with broken_off(at, after=after) as statements:
            first = api.post("/instances", make.WANTED, HTTP_IDEMPOTENCY_KEY=key)
        if first.status_code == 201 and len(statements) <= at:
            break
        assert first.status_code == 503, (statements[-1], first.content)
        assert not IdempotencyRecord.objects.exists() or made
        assert Instance.objects.count() == Counter.of(account, "instance") == made, statements[-1]

        again = api.post("/instances", make.WANTED, HTTP_IDEMPOTENCY_KEY=key)
        once_more = api.post("/instances", make.WANTED, HTTP_IDEMPOTENCY_KEY=key)
        made += 1
        assert (again.status_code, "Idempotent-Replayed" in again) == (201, False)
        assert (once_more.content, once_more["Idempotent-Replayed"]) == (again.content, "true")
        assert Instance.objects.count() == Counter.of(account, "instance") == made
        assert Event.objects.filter(type="instance.requested").count() == made
        assert Resource.objects.filter(kind="instance").count() == made
    assert made > 5, "the wrapper saw no statements"


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """On the kind of database of this run."""
    with ExitStack() as stack:
        database = ""
        if connection.vendor == "postgresql":
            database = stack.enter_context(servers.postgresql(stack.enter_context(servers.folder()))).url
        live = stack.enter_context(Live(tmp_path_factory.mktemp("live"), database))
        live.start_web(processes=2)
        yield live


@pytest.mark.slow
def test_two_hundred_creates_at_once_with_one_key_are_one_instance_and_one_answer(live):
    before = live.total()
    with ThreadPoolExecutor(200) as pool:
        replies = list(pool.map(lambda _: live.create("once"), range(200)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.data["id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert live.total() == before + 1


KILLED_AT = """
    import django, os, signal, sys
    django.setup()
    from django.db import connection
    from django.test import Client
    from tests.make import WANTED
    key, at = sys.argv[1], int(sys.argv[2])
    client = Client(headers={"Authorization": f"Bearer {key}", "Host": "localhost"})
    client.get("/v1/instances")
    seen = 0
    def run(execute, *statement):
        global seen
        answer = execute(*statement)
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    with connection.execute_wrapper(run):
        headers = {"Idempotency-Key": f"killed-{at}"}
        client.post("/v1/instances", WANTED, content_type="application/json", headers=headers)
"""


@pytest.mark.slow
@pytest.mark.parametrize("statement", [3, 6, 9])
def test_a_process_killed_in_the_middle_of_a_create_leaves_nothing_that_the_retry_could_double(live, statement):
    before = live.total()
    environment = live.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", textwrap.dedent(KILLED_AT), live.key, str(statement)]
    killed = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert live.total() == before
    first, second = (live.create(f"killed-{statement}") for _ in range(2))
    assert (first.status, second.status, second.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert first.data["id"] == second.data["id"]
    assert live.total() == before + 1
