"""`Idempotency-Key`: one effect and one answer. Races and broken connections are in `test_retries.py`."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import ApiKey
from api.idempotency import _cipher
from api.models import IdempotencyRecord
from api.tasks import purge_idempotency
from compute.models import Instance
from core.models import Counter, Event
from tests import make
from tests.api.test_errors import refused

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


def create(api, key="k1", body=make.WANTED, path="/instances", **extra):
    return api.post(path, body, HTTP_IDEMPOTENCY_KEY=key, **extra)


def test_the_same_request_again_gets_the_same_bytes_with_a_new_request_id(api):
    first, second = create(api), create(api)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert first["X-Request-Id"] != second["X-Request-Id"]
    assert second.json()["metadata"]["request_id"] == first["X-Request-Id"]
    assert second["Content-Type"] == first["Content-Type"]
    assert Instance.objects.count() == 1
    assert Event.objects.filter(type="instance.requested").count() == 1


def test_a_body_that_differs_only_in_the_order_of_its_names_is_the_same_request(api):
    create(api)
    assert create(api, body=dict(reversed(make.WANTED.items())))["Idempotent-Replayed"] == "true"


def test_the_key_with_another_request_is_refused(api):
    create(api)
    error = refused(create(api, body=make.WANTED | {"name": "other"}), 422, "idempotency_key_reused")
    assert "new key" in error["message"]
    assert Instance.objects.count() == 1


def test_a_key_belongs_to_one_account_method_and_path(api, account):
    first = create(api)
    assert create(make.make_api()).status_code == 201
    assert Instance.objects.count() == 2
    assert create(api, path="/ssh-keys", body={"name": "x", "generate": True}).status_code == 201
    id = first.json()["data"]["id"]
    assert api.delete(f"/instances/{id}", HTTP_IDEMPOTENCY_KEY="k1").status_code == 202
    assert "Idempotent-Replayed" not in api.delete(f"/instances/{id}", HTTP_IDEMPOTENCY_KEY="k2")


def test_another_key_of_the_same_account_may_repeat_the_request(api, account):
    """So that rotating an API key between two tries does no harm."""
    create(api)
    assert create(make.make_api(account))["Idempotent-Replayed"] == "true"


def test_a_secret_is_not_replayed_to_who_could_not_have_made_it(account, api):
    """The key and the body of another can be guessed; what was made for them stays theirs."""
    wanted = {"name": "deploy", "scopes": ["*"]}
    made = create(api, path="/account/api-keys", body=wanted).json()["data"]
    bobs = make.make_api(account, member=make.make_member(account, "developer"))
    admins = make.make_api(account, member=make.make_member(account, "admin"))
    narrow = make.make_api(account, scopes=["api_keys:write"])
    for other in (bobs, admins, narrow):
        refused(create(other, path="/account/api-keys", body=wanted), 422, "idempotency_key_reused")
    assert create(api, path="/account/api-keys", body=wanted).json()["data"]["key"] == made["key"]


def test_a_repeat_needs_the_credential_and_scope_like_the_first(account, api):
    create(api)
    refused(create(make.Api()), 401, "authentication_failed")
    refused(create(make.make_api(account, scopes=["instances:read"])), 403, "insufficient_scope")


def test_a_quoted_key_and_a_bare_one_are_the_same(api):
    create(api, key="abc")
    assert create(api, key='"abc"')["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "λ", "a\tb", "a\x7fb", " "])
def test_a_key_that_is_none_is_refused(api, key):
    error = refused(create(api, key=key), 400, "invalid_request")
    assert error["details"]["field"] == "Idempotency-Key"
    assert not Instance.objects.exists()


def test_a_key_of_255_characters_is_one(api):
    assert create(api, key="~" * 255).status_code == 201


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_every_kind_of_write_can_be_repeated(api, method):
    id = create(api).json()["data"]["id"]
    path = f"/instances/{id}" + ("/restart" if method == "POST" else "")
    make.work()
    first, second = (api.request(method, path, {}, HTTP_IDEMPOTENCY_KEY="again") for _ in range(2))
    assert first.status_code in (200, 202), first.content
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second["Idempotent-Replayed"] == "true"


def test_a_read_takes_no_notice_of_a_key(api):
    assert api.get("/instances", HTTP_IDEMPOTENCY_KEY="x" * 300).status_code == 200
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("wrong", [{"region": "mars-1"}, {"colour": "red"}])
def test_a_refusal_is_not_kept_so_trying_again_looks_again(api, wrong):
    assert create(api, body=make.WANTED | wrong).status_code == 400
    assert not IdempotencyRecord.objects.exists()
    assert create(api).status_code == 201


def test_a_crash_is_not_kept_and_leaves_nothing(api, account, monkeypatch):
    from core import events

    record = events.record

    def crash(*args, **kwargs):
        record(*args, **kwargs)
        raise ZeroDivisionError

    monkeypatch.setattr(events, "record", crash)
    refused(create(api), 500, "server_error")
    monkeypatch.undo()
    assert not IdempotencyRecord.objects.exists()
    assert not Instance.objects.exists()
    assert not Event.objects.filter(type="instance.requested").exists()
    assert Counter.of(account, "instance") == 0
    assert "Idempotent-Replayed" not in create(api)


def test_a_refusal_for_too_many_requests_is_not_kept():
    account = make.make_account(plan="free")
    api = make.make_api(account)
    answers = [create(api, key=f"k{number}", body={}) for number in range(60)]
    assert answers[-1].status_code == 429
    assert not IdempotencyRecord.objects.exists()


def test_a_one_time_secret_is_replayed_but_cannot_be_read_from_the_database(api):
    first = create(api, key="make-key", path="/account/api-keys", body={"name": "deploy"})
    secret = first.json()["data"]["key_ascii"]
    record = IdempotencyRecord.objects.get()
    kept = b" ".join(
        str(value).encode() + bytes(value if isinstance(value, bytes) else b"") for value in vars(record).values()
    )
    assert secret.encode() not in kept
    assert b"make-key" not in kept
    assert secret.removeprefix("lambda_").encode() not in bytes(record.sealed_body)
    assert (
        create(api, key="make-key", path="/account/api-keys", body={"name": "deploy"}).json()["data"]["key_ascii"]
        == secret
    )
    assert ApiKey.objects.filter(name="deploy").count() == 1


def test_what_is_sealed_opens_with_its_key_and_the_pepper_only(api, settings):
    from cryptography.exceptions import InvalidTag

    create(api, key="right")
    sealed = bytes(IdempotencyRecord.objects.get().sealed_body)
    assert _cipher("right").decrypt(sealed[:12], sealed[12:], None)
    with pytest.raises(InvalidTag):
        _cipher("wrong").decrypt(sealed[:12], sealed[12:], None)
    settings.LAMBDA_KEY_PEPPER = b"another"
    with pytest.raises(InvalidTag):
        _cipher("right").decrypt(sealed[:12], sealed[12:], None)


def test_a_key_is_forgotten_after_a_day(api):
    create(api)
    with time_machine.travel(timezone.now() + timedelta(hours=23, minutes=59), tick=False):
        purge_idempotency()
        assert create(api)["Idempotent-Replayed"] == "true"
    with time_machine.travel(timezone.now() + timedelta(hours=24, minutes=1), tick=False):
        answer = create(api)
        assert "Idempotent-Replayed" not in answer
        assert Instance.objects.count() == 2
    with time_machine.travel(timezone.now() + timedelta(hours=49), tick=False):
        purge_idempotency()
    assert not IdempotencyRecord.objects.exists()
