"""Anyone can make a client from our OpenAPI document: openapi-generator makes one here, and it rents an instance."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.openapi import document
from compute.models import Instance
from tests.make import make_account, make_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    # What the generator writes is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]


@pytest.fixture
def client(tmp_path, monkeypatch, live_server):
    """The generated package, pointed at the running server."""
    if not shutil.which("java"):
        pytest.skip("openapi-generator needs Java: apt-get install default-jre-headless")
    (tmp_path / "openapi.json").write_text(json.dumps(document()))
    generator = Path(sys.executable).with_name("openapi-generator-cli")
    subprocess.run(
        [generator, "generate", "-g", "python", "-i", "openapi.json", "-o", ".", "--package-name", "lambda_client"],
        cwd=tmp_path, check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("lambda_client")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lambda_client"]:
        del sys.modules[name]


def test_a_client_made_from_our_document_creates_reads_and_deletes_an_instance(client, live_server):
    account = make_account()
    key = make_key(account)[1].key_ascii  # urllib3 cannot send λ
    with client.ApiClient(client.Configuration(host=live_server.url, access_token=key)) as connection:
        api = client.InstancesApi(connection)
        wanted = client.InstanceCreateInput(
            name="web-1", instance_type="compute-1x", region="us-east-1", image="ubuntu-22.04", tags={"env": "test"}
        )
        made = api.instances_create(wanted, idempotency_key="once")
        again = api.instances_create(wanted, idempotency_key="once")
        assert made.data.id == again.data.id
        assert (made.data.status, made.data.tags) == ("pending", {"env": "test"})
        assert made.metadata.request_id != ""

        listed = api.instances_list(limit=1)
        assert [row.id for row in listed.data] == [made.data.id]
        assert (listed.pagination.total_items, listed.pagination.has_next) == (1, False)
        assert api.instances_get(made.data.id).data.region == "us-east-1"

        with pytest.raises(client.exceptions.BadRequestException) as refused:
            api.instances_create(wanted.model_copy(update={"region": "mars-1"}))
        assert refused.value.data.error.code == "invalid_request"
        assert refused.value.data.error.details.var_field == "region"  # `field` is taken by pydantic

        assert api.instances_delete(made.data.id).data.status == "deleting"
    assert [row.public_id for row in Instance.objects.filter(account=account)] == [made.data.id]
