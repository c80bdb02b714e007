"""`/v1/ssh-keys`: only what OpenSSH would take, once, and the private half is shown once or never."""

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from compute.actions import ssh_keys
from compute.models import SshKey
from core.context import SYSTEM
from core.errors import NotFound
from core.models import Event
from tests import make
from tests.api.test_errors import refused

pytestmark = [pytest.mark.django_db, pytest.mark.db]
OPENSSH = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


def line(private):
    return private.public_key().public_bytes(*OPENSSH).decode()


def add(api, public_key, name="laptop"):
    return api.post("/ssh-keys", {"name": name, "public_key": public_key})


@pytest.mark.parametrize(
    "public_key",
    [
        make.PUBLIC_KEY,
        f"  {make.PUBLIC_KEY}\r\n",
        line(ed25519.Ed25519PrivateKey.generate()),
        line(ec.generate_private_key(ec.SECP256R1())),
        line(ec.generate_private_key(ec.SECP521R1())),
        line(rsa.generate_private_key(65537, 2048)) + " user@host with spaces",
    ],
    ids=lambda value: value[:24],  # the same in every process: what follows is random
)
def test_every_usual_kind_of_key_is_taken(api, public_key):
    answer = add(api, public_key)
    assert answer.status_code == 201, answer.content
    assert answer.json()["data"]["public_key"] == " ".join(public_key.split())


def test_the_fingerprint_is_what_ssh_keygen_prints(api, tmp_path):
    shown = add(api, make.PUBLIC_KEY).json()["data"]["fingerprint"]
    file = tmp_path / "key.pub"
    file.write_text(make.PUBLIC_KEY)
    printed = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1] == shown


@pytest.mark.parametrize(
    ("public_key", "why"),
    [
        ("nonsense", "one OpenSSH line"),
        ("ssh-ed25519", "one OpenSSH line"),
        ("ssh-ed25519 AAAA", "one OpenSSH line"),
        ("ssh-ed25519 " + make.PUBLIC_KEY.split()[1][:-4], "one OpenSSH line"),
        ("ssh-rsa " + make.PUBLIC_KEY.split()[1], "one OpenSSH line"),
        ('command="rm -rf /" ' + make.PUBLIC_KEY, "one OpenSSH line"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----", "private key"),
        (make.PUBLIC_KEY + "\n" + line(ed25519.Ed25519PrivateKey.generate()), "one key"),
        (line(rsa.generate_private_key(65537, 1024)), "at least 2048 bits"),
        ("", "public_key"),
        ("x" * 20_000, "public_key"),
        (7, "public_key"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_public_key_is_refused_in_words(api, public_key, why):
    error = refused(add(api, public_key), 400, "invalid_request")
    assert error["details"]["field"] == "public_key"
    assert why in error["message"]
    assert not SshKey.objects.exists()


def test_a_private_key_sent_by_mistake_is_not_echoed(api):
    answer = add(api, "-----BEGIN OPENSSH PRIVATE KEY-----\nswordfish")
    assert b"swordfish" not in answer.content


def test_the_same_key_again_is_a_conflict_that_names_the_first(api):
    first = add(api, make.PUBLIC_KEY).json()["data"]
    again = refused(add(api, make.PUBLIC_KEY.replace("alice@laptop", "other comment"), name="other"), 409, "conflict")
    assert again["details"]["existing_id"] == first["id"]
    assert add(make.make_api(), make.PUBLIC_KEY).status_code == 201  # another account's keys are none of its business


def test_a_generated_key_opens_what_its_public_half_locks_and_is_shown_once(api):
    answer = api.post("/ssh-keys", {"name": "made", "generate": True})
    made = answer.json()["data"]
    private = serialization.load_ssh_private_key(made["private_key"].encode(), None)
    assert line(private) == made["public_key"]
    assert "private_key" not in api.get(f"/ssh-keys/{made['id']}").json()["data"]
    assert "PRIVATE" not in str(list(Event.objects.values_list("data", flat=True)))


@pytest.mark.parametrize(
    "body",
    [{"name": "x"}, {"name": "x", "public_key": make.PUBLIC_KEY, "generate": True}, {"name": "x", "generate": False}],
)
def test_a_key_is_either_sent_or_generated(api, body):
    assert refused(api.post("/ssh-keys", body), 400, "invalid_request")["details"]["field"] == "public_key"


def test_removing_a_key_leaves_it_on_instances_that_have_it(account, api):
    key = make.make_ssh_key(account)
    row = make.make_instance(account, ssh_keys=["laptop"])
    answer = api.delete(f"/ssh-keys/{key.public_id}")
    assert (answer.status_code, answer.json()["data"]["id"]) == (200, key.public_id)
    refused(api.get(f"/ssh-keys/{key.public_id}"), 404, "not_found")
    assert api.get(f"/instances/{row.public_id}").json()["data"]["ssh_keys"] == [key.public_id]


def test_renaming_is_recorded(account, api):
    key = make.make_ssh_key(account)
    assert api.patch(f"/ssh-keys/{key.public_id}", {"name": " desk "}).json()["data"]["name"] == "desk"
    assert Event.objects.first().type == "ssh_key.updated"
    for name in ("", " ", "x" * 101):
        refused(api.patch(f"/ssh-keys/{key.public_id}", {"name": name}), 400, "invalid_request")


def test_a_key_removed_before_it_could_be_renamed_is_not_found(account):
    key = SshKey.objects.get(pk=ssh_keys.add(account=account, by=SYSTEM, name="x", public_key=make.PUBLIC_KEY).pk)
    SshKey.objects.filter(pk=key.pk).delete()
    with pytest.raises(NotFound, match="removed"):
        ssh_keys.rename(key=key, by=SYSTEM, name="y")


def test_charlie_finds_nothing_of_alices(account):
    key = make.make_ssh_key(account)
    charlie = make.make_api()
    for method in ("GET", "PATCH", "DELETE"):
        refused(charlie.request(method, f"/ssh-keys/{key.public_id}", {"name": "x"}), 404, "not_found")
    assert charlie.get("/ssh-keys").json()["data"] == []


def test_the_plan_limits_the_keys():
    account = make.make_account(plan="free")
    for _ in range(20):
        make.make_ssh_key(account, generate=True)
    error = refused(add(make.make_api(account), make.PUBLIC_KEY), 403, "quota_exceeded")
    assert error["details"]["limit"] == 20


def test_a_reading_key_adds_none(account):
    refused(add(make.make_api(account, scopes=["ssh_keys:read"]), make.PUBLIC_KEY), 403, "insufficient_scope")
