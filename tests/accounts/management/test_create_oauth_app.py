"""`manage.py create_oauth_app`: a client id and a secret on one line, and nothing else."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import OAuthApp
from tests import make

pytestmark = pytest.mark.django_db


def run(*arguments):
    out, err = StringIO(), StringIO()
    call_command("create_oauth_app", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def test_what_is_printed_gets_a_token_at_once():
    account = make.make_account(name="Acme")
    printed = run("Acme", "--name", "ci", "--grant", "client-credentials", "--scopes", "instances:* catalog:read")
    assert printed.count("\n") == 1
    client_id, secret = printed.removesuffix("\n").split(" ")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    issued = Client().post("/oauth/token", form).json()
    assert issued["scope"].split()[-1] == "catalog:read"
    assert make.Api(issued["access_token"]).get("/account/whoami").json()["data"]["account"]["id"] == account.public_id
    assert secret not in str(OAuthApp.objects.filter(client_id=client_id).values())


def test_an_app_that_keeps_no_secret_has_only_its_id():
    make.make_account(name="Acme")
    uri = "http://127.0.0.1/back"
    printed = run("Acme", "--name", "cli", "--grant", "authorization-code", "--public", "--redirect-uri", uri)
    app = OAuthApp.objects.get(client_id=printed.strip())
    assert (app.sort, app.redirect_uris, app.client_secret) == ("native", uri, "")
    assert run("Acme", "--name", "tv", "--grant", "device-code").count(" ") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Nobody", "--name", "x"], "no account 'Nobody'"),
        (["Acme", "--name", "x", "--scopes", "fly"], "Unknown scope 'fly'"),
        (["Acme", "--name", " "], "1 to 100 characters"),
        (["Acme", "--name", "x", "--public"], "cannot be --public"),
        (["Acme", "--name", "x", "--grant", "authorization-code"], "Say where people are sent back"),
        *(
            (
                ["Acme", "--name", "x", "--grant", "authorization-code", "--redirect-uri", uri],
                "redirect_uris|begin with|address",
            )
            for uri in (
                "http://app.example.com/back",
                "javascript:alert(1)",
                "data:text/html,x",
                "https://",
                "https://app.example.com/back#part",
                "not an address",
            )
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments, words):
    make.make_account(name="Acme")
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert not OAuthApp.objects.exclude(account=None).exists()


def test_an_app_of_a_phone_may_have_a_scheme_of_its_own():
    make.make_account(name="Acme")
    run("Acme", "--name", "x", "--grant", "authorization-code", "--public", "--redirect-uri", "com.example.app:/back")
    assert OAuthApp.objects.get(name="x").get_allowed_schemes() == ["com.example.app", "https"]
