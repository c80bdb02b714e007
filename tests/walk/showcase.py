"""An account in which something has happened: what the walk, `manage.py screenshots` and `bench/pages.py` look at.

The real verbs make it, some of it days ago. Behind the instances is the scripted driver, so no machine is needed. What
is shown where is in `tour.py`. A new noun gets its rows here, few in `make_showcase` and many in `grow`.
"""

import random
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import time_machine
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.webauthn.internal.auth import WebAuthn
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from accounts.actions import accounts, api_keys, members, oauth_codes, uses, viewings
from accounts.middleware import VIEWING_KEY
from accounts.models import Account, OAuthApp, OAuthDevice, User
from accounts.models.oauth_app import CLI
from accounts.models.use import Note
from compute.actions import instances
from compute.drivers.base import Capacity
from compute.models import Instance
from compute.tasks import reconcile, sweep
from core.context import SYSTEM, acting
from functions import calls
from functions.actions import executions
from functions.tasks import sweep as functions_sweep
from tests import make

AGENTS = ["lambda-cli/1.2", "curl/8.5.0", "python-requests/2.32", "Terraform/1.9"]
CONSOLE = """\
[    0.0] Lambda node local, kernel 6.1
[    0.1] mounted / (overlay), 20 GB
[    0.1] network: eth0 up
[    0.2] sshd: listening on port 22
[    0.2] cloud-init: user data has ended with 0
[    0.3] nginx: 4 workers started
"""


@dataclass
class Showcase:
    """Alice owns the account, Bob administers it and has no second factor, Charlie operates the platform, and Dana's
    account asks for the second factor that she does not have."""

    account: Account
    alice: User
    bob: User
    charlie: User
    dana: User
    instances: dict[str, Instance] = field(default_factory=dict)  # by state
    rows: dict[str, Any] = field(default_factory=dict)  # one of each other noun, by what `tour.py` calls it
    invitation: str = ""  # the secret part of its link

    @property
    def people(self) -> dict[str, User]:
        """Who opens pages; `viewing` is Charlie as he looks at what Bob sees."""
        known = {who: getattr(self, who) for who in ("alice", "bob", "charlie", "dana")}
        return known | {"viewing": self.charlie}


@acting(through="dashboard")
def make_showcase(name: str = "Northwind Labs", domain: str = "northwind.example") -> Showcase:
    """One row at least of everything that has a page."""
    at = timezone.now() - timedelta(days=6)
    with time_machine.travel(at):
        people = [
            accounts.create_user(email=f"{name.lower()}@{domain}", name=name, password=make.PASSWORD, by=SYSTEM)
            for name in ("Alice", "Bob", "Charlie", "Dana")
        ]
        alice, _, charlie, _ = people
        account = accounts.create(name=name, owner=alice, plan="enterprise", by=SYSTEM)
    operator = {"is_active": True, "is_staff": True, "is_superuser": True}
    people[2] = accounts.update_user(user=charlie, by=SYSTEM, name="Charlie", **operator)
    shown = Showcase(account, *people)
    with time_machine.travel(at + timedelta(hours=2)):
        _people(shown)
        _machines(shown)
    _credentials(shown, at + timedelta(days=1))
    with time_machine.travel(at + timedelta(days=2)):
        _develop(shown)
    _beginnings(shown)
    return shown


def _people(shown: Showcase) -> None:
    account, owner = shown.account, make.owner_of(shown.account)
    shown.rows["bob"] = make.make_member(account, "admin", shown.bob)
    for name, role in (("Erik", "developer"), ("Frida", "billing"), ("Gustav", "viewer")):
        domain = shown.alice.email.partition("@")[2]
        user = accounts.create_user(email=f"{name.lower()}@{domain}", name=name, by=SYSTEM)
        shown.rows["member"] = make.make_member(account, role, user)
    TOTP.activate(shown.alice, generate_totp_secret())
    RecoveryCodes.activate(shown.alice)
    shown.rows["passkey"] = WebAuthn.add(shown.alice, "MacBook", _credential()).instance
    shown.rows["owner"] = owner
    strict = make.make_account(name="Contoso")
    accounts.update(account=strict, by=SYSTEM, require_mfa=True)
    make.make_member(strict, "developer", shown.dana)


def _credential() -> dict[str, Any]:
    """What a browser answers when a passkey is made."""
    public = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    attested = AttestedCredentialData.create(Aaguid(bytes(16)), secrets.token_bytes(32), public)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    proof = AttestationObject.create(
        "none", AuthenticatorData.create(sha256(b"localhost").digest(), flags, 0, attested), {}
    )
    client = CollectedClientData.create("webauthn.create", secrets.token_bytes(16), "http://localhost")
    response = {"clientDataJSON": websafe_encode(client), "attestationObject": websafe_encode(proof)}
    id = websafe_encode(attested.credential_id)
    return {"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {}}


def _machines(shown: Showcase) -> None:
    account, by = shown.account, shown.alice.actor
    shown.rows["ssh_key"] = make.make_ssh_key(account, name="alice@laptop")
    make.make_ssh_key(account, name="deploy", generate=True)
    sweep()  # the node is seen
    wanted = [
        ("web-1", "compute-2x", "us-east-1", {"env": "production", "app": "shop"}),
        ("web-2", "compute-2x", "us-east-1", {"env": "production", "app": "shop"}),
        ("db-primary", "memory-4x", "us-east-1", {"env": "production", "app": "shop", "tier": "data"}),
        ("queue-eu", "compute-1x", "eu-central-1", {"env": "production"}),
        ("build-cache", "compute-4x", "eu-central-1", {"env": "ci"}),
    ]
    for name, kind, region, tags in wanted:
        row = instances.create(
            account=account, by=by, name=name, instance_type=kind, region=region, image="ubuntu-22.04", tags=tags,
            ssh_keys=["alice@laptop"],
        )  # fmt: skip
        reconcile(instance_id=str(row.pk))
        shown.instances.setdefault("running", row)
    instances.stop(instance=row, by=shown.bob.actor)
    reconcile(instance_id=str(row.pk))
    shown.instances["stopped"] = row
    make.machines().write(shown.instances["running"].public_id, CONSOLE)


def _credentials(shown: Showcase, at: Any) -> None:
    account, owner = shown.account, shown.rows["owner"]
    with time_machine.travel(at):
        key, _ = make.make_key(account, name="Deploy from CI", expires_at=at + timedelta(days=90))
        reader, _ = make.make_key(account, name="Grafana", scopes=["*:read"], expires_at=at + timedelta(days=12))
        make.make_key(account, name="Old laptop", member=shown.rows["bob"], scopes=["instances:*"], never_expires=True)
        ended, _ = make.make_key(account, name="Contractor", expires_at=at + timedelta(days=30))
        old, _ = make.make_key(account, name="Terraform", scopes=["instances:*", "ssh_keys:*"], never_expires=True)
        token, _ = make.make_token(account, name="Notebook")
        shown.rows["app"], _ = make.make_app(
            account, "web", redirect_uris=["https://grafana.example/back"], name="Grafana Cloud"
        )
        make.make_app(account, "machine", name="Nightly reports")
    _use(key.kind, key.pk, 500)
    _use(reader.kind, reader.pk, 150)
    _use(token.kind, token.pk, 60)
    _use(old.kind, old.pk, 40)
    api_keys.revoke(key=ended, by=shown.bob.actor)
    api_keys.rotate(key=old, by=shown.alice.actor, grantable=owner.scopes, overlap_hours=48)
    shown.rows |= {"key": key, "replaced": old, "token": token}


def _use(kind: str, credential: Any, count: int) -> None:
    """Requests of the last six days, as by somebody who works during the day. The same ones every time."""
    dice, now = random.Random(count), timezone.now().timestamp()
    notes = []
    for number in range(count):
        at = now - (6 * 86_400 - 3600) * (1 - (number + 1) / count) - dice.random() * 3000
        status = dice.choices([200, 201, 404, 429, 500], [80, 12, 5, 2, 1])[0]
        path = "/v1/instances" if status != 404 else "/v1/instances/web-9"
        method = "POST" if status == 201 else "GET"
        notes.append(
            Note(
                kind,
                credential,
                True,
                at,
                status,
                method,
                path,
                "203.0.113.24",
                dice.choice(AGENTS),
                f"req_{number:026}",
            )
        )
    uses.write(notes=notes)


def _beginnings(shown: Showcase) -> None:
    """What is under way now."""
    sweep()
    functions_sweep()  # the runner is seen
    account, owner = shown.account, shown.rows["owner"]
    for state, name in (("error", "staging"), ("provisioning", "build-7")):
        row = instances.create(
            account=account, by=shown.bob.actor, **(make.WANTED | {"name": name, "tags": {"env": "ci"}})
        )
        instances.mark_provisioning(instance=row)
        if state == "error":
            instances.mark_failed(
                instance=row, reason=str(Capacity("The node's disk is full: 2 GB are free, 20 GB are needed."))
            )
        shown.instances[state] = row
    invited = members.invite(
        account=account,
        by=shown.alice.actor,
        giver=owner,
        grantable=owner.scopes,
        email="hanna@partner.example",
        role="developer",
    )
    link = members.new_link(member=invited)
    members.mark_mailed(member=invited, link=link)
    shown.invitation, shown.rows["invited"] = link.token, invited
    shown.rows["device"] = begin_device()


def _develop(shown: Showcase) -> None:
    account = shown.account
    shown.rows["function"] = function = make.make_function(account, name="resize-images", region="us-east-1")
    target = calls.target(account.pk, function.number)
    shown.rows["execution"], _ = executions.accept(target=target, event=b'{"key": "cat.jpg"}')
    make.make_function(account, name="nightly-report", state="created")
    shown.rows["webhook"] = webhook = make.make_webhook(
        account, url="https://shop.example/hooks/lambda", events=["instance.*"]
    )
    shown.rows["delivery"] = make.make_delivery(webhook)


def begin_device() -> OAuthDevice:
    scopes = ["instances:read", "instances:create", "functions:invoke"]
    return oauth_codes.begin_device(
        app=OAuthApp.objects.get(client_id=CLI), device_code=secrets.token_urlsafe(), scopes=scopes
    )


def view(shown: Showcase, browser: Client) -> None:
    """Charlie begins to look at the dashboard as Bob does, in this browser of his."""
    viewing = viewings.begin(operator=shown.charlie, member=shown.rows["bob"], reason="Ticket 4211: the list is empty")
    session = browser.session
    session[VIEWING_KEY] = str(viewing.pk)
    session.save()


def grow(shown: Showcase, times: int = 12) -> None:
    """So many more of everything that no page may need a query for each."""
    account = shown.account
    for number in range(times):
        for state in ("running", "stopped", "error"):
            make.make_instance(account, name=f"worker-{number}-{state}", state=state, tags={"number": str(number)})
        make.make_ssh_key(account, name=f"key-{number}", generate=True)
        key, _ = make.make_key(account, name=f"key-{number}")
        token, _ = make.make_token(account, name=f"token-{number}")
        for one in (key, token):
            _use(one.kind, one.pk, 10)
        make.make_app(account, "machine", name=f"app-{number}")
        make.make_delivery(make.make_webhook(account, url=f"https://shop.example/{number}"))
        make.make_delivery(shown.rows["webhook"])
        make.make_function(account)
        executions.accept(target=calls.target(account.pk, shown.rows["function"].number), event=b"{}")
        make.make_member(account, "developer")
        accounts.create(name=f"Side project {number}", owner=shown.alice, plan="free", by=SYSTEM)
