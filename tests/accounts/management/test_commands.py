"""`manage.py create_account` and `create_api_key`: what scripts read is on stdout, and nothing else is."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account, ApiKey, User
from accounts.models.api_key import Secret
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db


def run(*arguments):
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def test_an_account_is_made_with_its_owner_and_its_id_printed():
    printed = run("create_account", "Acme", "--owner", "Alice@Example.com", "--plan", "enterprise")
    account = Account.objects.get(pk=Account.key(printed.removesuffix("\n")))
    assert (account.name, account.plan.slug) == ("Acme", "enterprise")
    owner = make.owner_of(account).user
    assert owner.email == "alice@example.com"
    assert not owner.has_usable_password()
    assert Event.objects.filter(account_id=account.pk, via="cli").exists()


def test_an_existing_user_becomes_the_owner():
    alice = make.make_user()
    run("create_account", "Acme", "--owner", alice.email.upper())
    assert make.owner_of(Account.objects.get()).user == alice
    assert User.objects.count() == 1


def test_an_unknown_plan_makes_neither_account_nor_user():
    with pytest.raises(CommandError, match="Invalid plan"):
        run("create_account", "Acme", "--owner", "alice@example.com", "--plan", "gold")
    assert not User.objects.exists()
    assert not Account.objects.exists()


@pytest.mark.parametrize("owner", ["", "alice", "@", "a b@example.com"])
def test_an_owner_without_an_address_is_refused(owner):
    with pytest.raises(CommandError):
        run("create_account", "Acme", "--owner", owner)
    assert not User.objects.exists()


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_key_is_printed_alone_and_works(by):
    account = make.make_account(name="Acme")
    printed = run(
        "create_api_key", account.name if by == "name" else account.public_id, "--name", "ci", "--scopes", "*"
    )
    key = printed.removesuffix("\n")
    assert Secret.parse(key)
    assert key.startswith("λ_sk_")
    assert "\n" not in key
    assert make.Api(key).get("/instances").status_code == 200


def test_scopes_are_separated_by_commas_or_spaces():
    make.make_account(name="Acme")
    run("create_api_key", "Acme", "--name", "ci", "--scopes", "catalog:read, ips:*")
    assert ApiKey.objects.get().scopes == ["ips:read", "ips:write", "catalog:read"]


def test_a_wrong_scope_or_account_is_refused_in_words():
    make.make_account(name="Acme")
    make.make_account(name="Twin")
    make.make_account(name="Twin")
    for account, scopes, words in [
        ("Acme", "fly", "Unknown scope 'fly'"),
        ("Nobody", "*", "no account 'Nobody'"),
        ("acct_01m803p6fsep5t56hn7y1dmqyp", "*", "no account"),
        ("Twin", "*", "use the id"),
    ]:
        with pytest.raises(CommandError, match=words):
            run("create_api_key", account, "--name", "x", "--scopes", scopes)
    assert not ApiKey.objects.exists()
