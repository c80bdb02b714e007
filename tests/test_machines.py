"""Several machines are one installation: PostgreSQL and Redis are all that they share."""

import time

import pytest

from tests import servers
from tests.live import WAIT, Live

pytestmark = [pytest.mark.slow, pytest.mark.db, pytest.mark.only("postgresql", "redis")]


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Two web machines; the first has a worker as well."""
    homes = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    with (
        servers.folder() as folder,
        servers.postgresql(folder) as database,
        servers.redis() as redis,
        Live(homes[0], database.url, redis.url) as first,
        Live(homes[1], database.url, redis.url, first) as second,
    ):
        first.start_worker()
        for machine in (first, second):
            machine.start_web()
        yield first, second


def test_what_is_asked_of_one_machine_is_carried_out_by_anothers_worker_and_seen_on_both(machines):
    first, second = machines
    id = second.create("a").data["id"]
    deadline = time.monotonic() + WAIT
    while first.request("GET", f"/v1/instances/{id}").data["status"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_idempotency_key_holds_on_all_machines(machines):
    first, second = (machine.create("b") for machine in machines)
    assert second.data["id"] == first.data["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_key_revoked_on_one_machine_stops_on_the_other_with_the_next_request(machines):
    first, second = machines
    for _ in range(3):
        made = first.request("POST", "/v1/account/api-keys", {"name": "short-lived"}).data
        bearer = {"Authorization": f"Bearer {made['key_ascii']}"}
        for _ in range(8):  # until each process of the second machine remembers it
            assert second.request("GET", "/v1/account", **bearer).status == 200
        assert first.request("DELETE", f"/v1/account/api-keys/{made['id']}").status in (200, 204)
        assert [second.request("GET", "/v1/account", **bearer).status for _ in range(8)] == [401] * 8


def test_limits_count_over_all_machines(machines):
    remaining = [
        int(machine.request("GET", "/v1/account").headers["X-RateLimit-Remaining"]) for machine in machines * 3
    ]
    assert remaining == list(range(remaining[0], remaining[0] - 6, -1))
