"""Whole errands in a real Chromium: without a script, by the keyboard alone, with two clicks, with two editors."""

from playwright.sync_api import expect

from accounts.models import ApiKey, Membership
from compute.actions import instances
from compute.models import Instance
from tests import make
from tests.test_dashboard import account, browser, pytestmark, visit  # noqa: F401  (fixtures, marks)

assert pytestmark


def test_everything_that_matters_can_be_done_without_a_script(visit, account):  # noqa: F811
    """It is long because it is one afternoon of one person, in one window."""
    owner = make.owner_of(account)
    owner.user.set_password(make.PASSWORD)
    owner.user.save()
    bob = make.make_member(account, "viewer")
    page = visit("/settings/members", signed_in=False, java_script_enabled=False)
    page.get_by_label("Email").fill(owner.user.email)
    page.get_by_label("Password", exact=True).fill(make.PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()

    page.get_by_role("button", name=f"Change the role of {bob.name}").click()
    page.locator("dialog:visible").get_by_label("Developer").check()
    page.locator("dialog:visible").get_by_role("button", name="Change role").click()
    expect(page.get_by_role("row", name=bob.name)).to_contain_text("Developer")
    assert Membership.objects.get(pk=bob.pk).role == "developer"

    page.get_by_role("link", name="API Keys").click()
    page.get_by_role("link", name="Create New API Key").first.click()
    page.get_by_label("Name", exact=True).fill("laptop")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("link", name="I have saved it").click()
    page.get_by_role("link", name="Revoke laptop").or_(page.get_by_role("button", name="Revoke laptop")).last.click()
    page.get_by_role("button", name="Revoke", exact=True).last.click()
    expect(page.get_by_role("row", name="laptop")).to_have_count(0)
    assert ApiKey.objects.get(name="laptop").status == "revoked"

    page.get_by_role("link", name="Instances", exact=True).first.click()
    page.get_by_role("link", name="New instance").first.click()
    page.get_by_label("Name", exact=True).fill("hello")
    page.get_by_role("button", name="Create instance").click()
    expect(page.get_by_role("heading", name="hello")).to_be_visible()
    row = Instance.objects.get(name="hello")
    instances.mark_provisioning(instance=row)
    instances.mark_running(instance=row, observed=make.observed(row))
    page.reload()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.locator("dialog:visible").get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("heading", name="hello")).to_contain_text("Stopping")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#confirm").fill("hello")
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/instances")
    row.refresh_from_db()
    assert row.state == "deleting"


def focus(page, name: str) -> None:
    """Press Tab until what is called so has the focus, as whoever has no mouse does."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(
            "[document.activeElement.ariaLabel, document.activeElement.labels?.[0]?.innerText, document.activeElement.innerText]"
            f".some((said) => said?.trim().startsWith({name!r}))"
        ):
            ring = page.evaluate(
                "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).boxShadow"
            )
            assert ring != "nonenone", f"nobody sees that {name} has the focus"
            return
    raise AssertionError(f"Tab never reaches {name}")


def test_an_instance_is_made_and_deleted_by_the_keyboard_alone(visit, account):  # noqa: F811
    page = visit("/instances")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    focus(page, "New instance")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instances/new")
    focus(page, "Name")
    page.keyboard.press("Control+a")
    page.keyboard.type("typed")
    focus(page, "Create instance")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instances/inst_*")
    focus(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.locator("dialog:modal")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog:modal")).to_have_count(0)
    assert page.evaluate("document.activeElement.innerText").strip() == "Delete", "the focus goes back to where it was"
    page.keyboard.press("Enter")
    if page.evaluate("document.activeElement.id") != "confirm":
        focus(page, "Type")
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instances")
    assert Instance.objects.get(name="typed").state == "deleting"


def test_two_clicks_make_one_instance(visit, account):  # noqa: F811
    page = visit("/instances/new")
    page.get_by_label("Name", exact=True).fill("once")
    page.get_by_role("button", name="Create instance").dblclick()
    page.wait_for_url("**/instances/inst_*")
    assert Instance.objects.filter(name="once").count() == 1


def test_the_later_of_two_editors_is_told_and_keeps_what_was_typed(visit, account):  # noqa: F811
    key, _ = make.make_key(account, name="shared")
    hers, his = (visit(f"/settings/api-keys/{key.public_id}/change") for _ in range(2))
    his.get_by_label("Name", exact=True).fill("his")
    his.get_by_role("button", name="Save").click()
    his.wait_for_url(f"**/{key.public_id}")
    hers.get_by_label("Name", exact=True).fill("hers")
    hers.get_by_role("button", name="Save").click()
    expect(hers.get_by_role("main")).to_contain_text("while you had it open")
    expect(hers.get_by_label("Name", exact=True)).to_have_value("hers")
    hers.get_by_role("button", name="Save").click()
    hers.wait_for_url(f"**/{key.public_id}")
    assert ApiKey.objects.get(pk=key.pk).name == "hers"
