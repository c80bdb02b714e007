"""The pages of instances and the overview as people use them: a real Chromium, with and without JavaScript."""

import pytest
import requests
from playwright.sync_api import expect

from accounts import uses
from compute.actions import instances
from compute.models import Instance
from tests import make
from tests.test_dashboard import SIGHTS, account, browser, inspect, visit  # noqa: F401  (fixtures)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]


def rest(page):
    """Leave the field and let the last estimate come: htmx complains of a request that a click cuts short."""
    page.get_by_role("heading", name="New instance").click()
    page.wait_for_load_state("networkidle")


def test_what_is_chosen_while_an_estimate_is_on_its_way_is_priced_after_it(visit):  # noqa: F811
    page, held = visit("/instances/new"), []
    estimates = "**/instances/new/estimate?*"
    page.route(estimates, lambda route: route.continue_() if held else held.append(route))
    with page.expect_request(estimates):
        page.get_by_label("memory-2x").check()
    page.get_by_label("memory-4x").check()
    held[0].continue_()
    expect(page.locator(".estimate")).to_contain_text("memory-4x")
    rest(page)


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_instance_is_priced_reviewed_made_changed_and_resized(visit, account, scripts):  # noqa: F811
    page = visit("/instances/new", java_script_enabled=scripts)
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_label("memory-2x").check()
    page.get_by_label("Tags").fill("env=production")
    page.get_by_label("Your public key").fill("ssh-ed25519 nonsense")
    if not scripts:
        page.get_by_role("button", name="Review first").click()
    expect(page.locator(".estimate .price")).to_contain_text("$20.44")
    expect(page.locator("#call")).to_contain_text('"memory-2x"')
    rest(page)
    page.get_by_role("button", name="Create instance").click()
    expect(page.locator(".errorlist")).to_contain_text("must be one OpenSSH line")
    expect(page.get_by_label("Name", exact=True)).to_have_value("shop")
    expect(page.get_by_label("memory-2x")).to_be_checked()
    inspect(page) if scripts else None
    page.get_by_label("Your public key").fill(make.PUBLIC_KEY)
    rest(page)
    page.get_by_role("button", name="Create instance").click()
    page.wait_for_url("**/instances/inst_*")

    row = Instance.objects.get(name="shop")
    assert (row.tags, row.ssh_keys[0]["name"]) == ({"env": "production"}, "alice@laptop")
    instances.mark_provisioning(instance=row)
    instances.mark_running(instance=row, observed=make.observed(row))
    page.reload()
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Tags").fill("env=staging")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("main")).to_contain_text("env=staging")
    page.get_by_role("link", name="Resize").click()
    page.get_by_label("memory-4x").check()
    expect(page.get_by_role("group", name="New type")).to_contain_text("+$20.44")
    page.get_by_role("button", name="Resize and restart").click()
    expect(page.get_by_role("heading", name="shop")).to_contain_text("Resizing")


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_many_are_chosen_and_what_was_refused_is_told(visit, account, scripts):  # noqa: F811
    make.make_instance(account, name="web-1")
    make.make_instance(account, name="database", protected=True)
    page = visit("/instances", java_script_enabled=scripts)
    page.get_by_label("Choose web-1").check()
    page.get_by_label("Choose database").check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 2 instances?")).to_be_visible()
    page.get_by_label("to confirm").fill("delete 2")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="1 done, 1 refused")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="database")).to_contain_text("protected from deletion")


def test_what_is_ticked_stays_ticked_while_the_list_follows_what_moves(visit, account):  # noqa: F811
    row = make.make_instance(account, name="web-1", state="provisioning")
    page = visit("/instances")
    page.get_by_label("Choose web-1").check()
    instances.mark_running(instance=row, observed=make.observed(row))
    expect(page.get_by_role("row", name="web-1")).to_contain_text("Running", timeout=8_000)
    expect(page.get_by_label("Choose web-1")).to_be_checked()


def test_the_first_boot_is_followed_and_its_console_comes_along(visit, account):  # noqa: F811
    row = make.make_instance(account, name="web-1", state="provisioning")
    page = visit(f"/instances/{row.public_id}")
    expect(page.get_by_role("list", name="First boot")).to_contain_text("under way")
    inspect(page)
    instances.mark_running(instance=row, observed=make.observed(row))
    expect(page.get_by_role("button", name="Copy the SSH line")).to_be_visible(timeout=8_000)
    expect(page.get_by_role("list", name="First boot")).to_have_count(0)
    page.get_by_role("link", name="1000 lines").click()
    expect(page.get_by_role("link", name="1000 lines")).to_have_attribute("aria-current", "true")
    assert "tail" not in page.url, "only the console was asked for"


def test_the_overview_hears_the_first_call(visit, live_server, account):  # noqa: F811
    _, secret = make.make_key(account)
    page = visit("/")
    expect(page.locator("#first-call")).to_contain_text("Listening for it")
    expect(page.locator("#activity")).to_contain_text("API key created")
    requests.get(f"{live_server.url}/v1/instances", headers={"X-API-Key": secret.key_ascii}, timeout=30)
    uses.flush()  # which a web process does by itself every two seconds
    expect(page.locator("#first-call")).to_contain_text("It arrived.", timeout=8_000)
    inspect(page)


@pytest.mark.parametrize(("width", "theme"), SIGHTS)
def test_pages_with_much_on_them_are_sound_on_any_screen(visit, account, width, theme):  # noqa: F811
    rows = [
        make.make_instance(
            account, state=state, name=f"{state}-{'long' * 8}", tags={"env": "production", "k" * 40: "v"}
        )
        for state in ("running", "provisioning", "stopped", "error")
    ]
    make.make_key(account, expires_at=make.days(2))
    ids = "&".join(f"id={row.public_id}" for row in rows)
    path = f"/instances/{rows[0].public_id}"
    page = visit("/", width=width, color_scheme=theme)
    paths = ["/", "/instances", "/instances?q=nothing-like-it", f"/instances/bulk?action=stop&{ids}", "/instances/new"]
    for one in [*paths, path, *(f"{path}/{verb}" for verb in ("change", "resize", "rebuild"))]:
        assert page.goto(one).status == 200, one
        page.wait_for_load_state("networkidle") if one == "/" else None
        inspect(page)
