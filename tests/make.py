"""Builders: what a test needs to exist before it begins, made by the real verbs. No assertions and no fixtures.

Alice owns an account, Bob is a member of hers, Charlie is a stranger with an account of his own.
"""

import json
import time
from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from typing import Any

from celery import current_app
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client, TestCase
from django.utils import timezone

from accounts.actions import accounts, api_keys, oauth_apps, oauth_tokens
from accounts.actions.oauth_tokens import Issued
from accounts.models import Account, ApiKey, Membership, OAuthApp, OAuthToken, User
from accounts.models.api_key import Secret
from accounts.scopes import expand
from compute.actions import instances, ssh_keys
from compute.drivers import open_driver
from compute.drivers.base import Endpoint, Observed
from compute.drivers.fake import FakeDriver
from compute.models import Instance, SshKey
from core.context import SYSTEM
from functions.actions import functions
from functions.calls import runner_name
from functions.drivers import open_driver as open_runner
from functions.drivers.fake import FakeDriver as FakeRunner
from functions.models import Function
from functions.tasks import reconcile
from webhooks.actions import deliveries, endpoints
from webhooks.models import Delivery
from webhooks.models import Endpoint as Webhook

_numbers = count(1)
PASSWORD = "correct horse battery staple"
WANTED = {"name": "web-1", "instance_type": "compute-1x", "region": "us-east-1", "image": "ubuntu-22.04"}
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@laptop"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP////////////////////////////////////////// host"


def make_user(name: str = "alice", *, password: str | None = None) -> User:
    """A user who signs in by e-mail; a number keeps the address unique."""
    return accounts.create_user(email=f"{name}{next(_numbers)}@example.com", password=password, name=name, by=SYSTEM)


def make_operator(rights: Iterable[str] | None = None) -> User:
    """A user of the admin: with every right, or with those named, e.g. `accounts.view_account`."""
    user = make_user("operator")
    user.is_staff, user.is_superuser = True, rights is None
    user.save()
    for right in rights or ():
        app, _, codename = right.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def make_account(owner: User | None = None, *, name: str = "Alice's", plan: str = "enterprise") -> Account:
    """An account with its owner; the generous plan, so that only tests of limits meet any."""
    return accounts.create(name=name, owner=owner or make_user(), plan=plan, by=SYSTEM)


def make_member(account: Account, role: str, user: User | None = None) -> Membership:
    return Membership.objects.create(account=account, user=user or make_user("bob"), role=role)


def owner_of(account: Account) -> Membership:
    """The first one, where there are several."""
    owners = Membership.objects.select_related("user", "account__plan").filter(account=account, role="owner")
    return owners.earliest("pk")


def make_key(
    account: Account, *, scopes: Iterable[str] = ("*",), member: Membership | None = None, **fields: Any
) -> tuple[ApiKey, Secret]:
    """An API key of the owner, or of `member`, with `scopes` (wildcards too) as far as the maker has them."""
    member = member or owner_of(account)
    granted = [scope for scope in expand(scopes) if scope in member.scopes]
    fields = {"name": "a key"} | fields
    return api_keys.create(
        account=account, by=SYSTEM, maker=member.user, scopes=granted, grantable=member.scopes, **fields
    )


def make_token(
    account: Account, *, scopes: Iterable[str] = ("*",), member: Membership | None = None, name: str = "a token"
) -> tuple[OAuthToken, Issued]:
    """An OAuth token of the owner, or of `member`, as the dashboard makes it."""
    member = member or owner_of(account)
    granted = [scope for scope in expand(scopes) if scope in member.scopes]
    return oauth_tokens.generate(
        account=account, by=SYSTEM, maker=member.user, name=name, scopes=granted, grantable=member.scopes
    )


def make_app(
    account: Account, sort: str = "web", *, scopes: Iterable[str] = ("*",), **fields: Any
) -> tuple[OAuthApp, str]:
    """An OAuth app of one of the kinds, and its secret."""
    owner = owner_of(account)
    fields = {"name": "An app", "redirect_uris": ["https://app.example.com/back"], "maker": owner.user} | fields
    return oauth_apps.create(account=account, by=SYSTEM, sort=sort, scopes=scopes, grantable=owner.scopes, **fields)


class Api:
    """A client of `/v1` with a key. A path is below `/v1`; a body is what JSON says.

    What a request does after its commit is done before the answer is handed back, as it is in life.
    """

    def __init__(self, key: str | None = None, **defaults: Any):
        # Latin-1 text, as a WSGI server hands over the bytes of a header.
        headers = {"HTTP_AUTHORIZATION": f"Bearer {key}".encode().decode("latin-1")} if key else {}
        self.client = Client(raise_request_exception=False, **headers, **defaults)

    def request(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        extra = {"content_type": "application/json"} | extra
        with TestCase.captureOnCommitCallbacks(execute=True):
            return self.client.generic(method, f"/v1{path}", data, **extra)

    def get(self, path: str, **extra: Any) -> Any:
        return self.request("GET", path, **extra)

    def post(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self.request("POST", path, body, **extra)

    def patch(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self.request("PATCH", path, body, **extra)

    def delete(self, path: str, **extra: Any) -> Any:
        return self.request("DELETE", path, **extra)


def make_api(account: Account | None = None, *, scopes: Iterable[str] = ("*",), **fields: Any) -> Api:
    """A client with a fresh key of `account`, or of a new account of Alice's."""
    _, secret = make_key(account or make_account(), scopes=scopes, **fields)
    return Api(secret.key)


def observed(instance: Instance, state: str = "running", **facts: Any) -> Observed:
    """What a driver would say of the instance: up, and answering SSH."""
    endpoint = Endpoint("127.0.0.1", 2222, "lambda", HOST_KEY)
    facts = {
        "generation": instance.generation,
        "ready": state == "running",
        "endpoint": endpoint,
        "boot_id": "boot-1",
    } | facts
    return Observed(id=instance.public_id, state=state, **facts)  # type: ignore[arg-type]


def make_instance(account: Account | None = None, *, state: str = "running", **fields: Any) -> Instance:
    """An instance that the verbs have brought to `state`; no machine is behind it."""
    account = account or make_account()
    row = instances.create(account=account, by=SYSTEM, **(WANTED | {"start": state != "stopped"} | fields))
    if state == "pending":
        return row
    instances.mark_provisioning(instance=row)
    if state == "error":
        return instances.mark_failed(instance=row, reason="The disk is full")
    if state == "stopped":
        return instances.mark_stopped(instance=row)
    if state != "provisioning":
        row = instances.mark_running(instance=row, observed=observed(row))
    verbs = {"stopping": instances.stop, "restarting": instances.restart, "deleting": instances.delete}
    if state in verbs:
        return verbs[state](instance=row, by=SYSTEM)
    if state == "starting":
        return instances.start(instance=make_instance(account, state="stopped", **fields), by=SYSTEM)
    if state == "resizing":
        return instances.resize(instance=row, by=SYSTEM, instance_type="compute-2x", restart=True)
    if state == "rebuilding":
        return instances.rebuild(instance=row, by=SYSTEM, image="debian-12")
    return row


def make_ssh_key(account: Account, *, name: str = "laptop", generate: bool = False) -> SshKey:
    """Alice's public key, or with `generate` a fresh one, as an account takes each only once."""
    if generate:
        return ssh_keys.generate(account=account, by=SYSTEM, name=name)[0]
    return ssh_keys.add(account=account, by=SYSTEM, name=name, public_key=PUBLIC_KEY)


def make_webhook(account: Account, **fields: Any) -> Webhook:
    """A webhook for everything, to a receiver that there is not."""
    return endpoints.create(
        account=account, by=SYSTEM, **({"url": "https://example.com/hook", "events": ["*"]} | fields)
    )[0]


def make_delivery(endpoint: Webhook) -> Delivery:
    """A pending delivery of a test event."""
    return deliveries.test(endpoint=endpoint, by=SYSTEM)


SOURCE = "def handler(event, context):\n    return event\n"


def make_function(account: Account | None = None, *, state: str = "active", **fields: Any) -> Function:
    """A function that verbs and workers have brought to `state`, by the scripted runner."""
    account = account or make_account()
    wanted = {"name": f"function-{next(_numbers)}", "runtime": "python3.11", "handler": "app.handler"} | fields
    code = {} if state == "created" else {"code": {"inline": SOURCE}}
    function = functions.create(account=account, by=SYSTEM, **(code | wanted))
    if state == "failed":
        runner().break_builds(runner_name(function.pk), "Runtime.ImportModuleError", "No module named 'missing'")
    if state != "created":
        reconcile(function_id=str(function.pk))
    if state == "deprecated":
        functions.deprecate(function=function, by=SYSTEM, message="Use another")
    if state == "deleting":
        functions.delete(function=function, by=SYSTEM)
    return Function.objects.select_related("account__plan").get(pk=function.pk)


def runner() -> FakeRunner:
    """The scripted runner that web and workers of the tests talk to."""
    return open_runner(settings.LAMBDA_RUNNER, settings.LAMBDA_RUNNER_HOME)  # type: ignore[return-value]


def machines() -> FakeDriver:
    """The scripted driver that workers of the tests talk to."""
    return open_driver(settings.LAMBDA_DRIVER, settings.LAMBDA_NODE_HOME)  # type: ignore[return-value]


def days(number: float) -> Any:
    return timezone.now() + timedelta(days=number)


def work(limit: int = 100) -> list[str]:
    """Carry out, as a worker would, the tasks that wait in the broker. Answers their names."""
    done = []
    current_app.loader.import_default_modules()
    with current_app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        while len(done) < limit:
            try:
                message = queue.get_nowait()
            except queue.Empty:
                break
            message.ack()
            name = message.headers["task"]
            with TestCase.captureOnCommitCallbacks(execute=True):
                current_app.tasks[name](**message.payload[1])
            done.append(name)
    return done


def sign_in(user: User, *, ago: float = 0) -> Client:
    """A browser in which the user signed in `ago` seconds before. Pages that show a secret ask how long that is ago."""
    client = Client()
    client.force_login(user, settings.AUTHENTICATION_BACKENDS[0])
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - ago}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client
