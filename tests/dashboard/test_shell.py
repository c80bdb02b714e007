"""The shell in a real Chromium: palette, shortcuts, a lost connection, toasts, API calls without a script."""

from playwright.sync_api import expect

from accounts.models import Membership
from tests import make
from tests.test_dashboard import account, browser, inspect, pytestmark, visit  # noqa: F401  (fixtures, marks)

assert pytestmark


def test_the_palette_goes_where_one_types_by_keyboard_alone(visit, account):  # noqa: F811
    row = make.make_instance(account, name="web-front")
    page = visit("/")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("link", name="Create instance")).to_be_visible()
    inspect(page)
    page.keyboard.type("front")
    expect(page.locator("#found a")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/instances/{row.public_id}")

    page.keyboard.press("/")
    page.keyboard.type("key")
    expect(page.locator("#found a").first).to_contain_text("SSH keys")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.href")
    page.keyboard.press("Enter")
    page.wait_for_url(focused)

    page.keyboard.press("?")
    expect(page.locator("#found")).to_contain_text("These shortcuts")
    inspect(page)
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_url("**/instances")


def test_a_shortcut_typed_into_a_field_is_text(visit):  # noqa: F811
    page = visit("/instances/new")
    page.get_by_label("Name").fill("")
    page.get_by_label("Name").press_sequentially("/?gi")
    expect(page.get_by_label("Name")).to_have_value("/?gi")
    expect(page.locator("#palette")).to_be_hidden()


def test_a_lost_connection_is_said_and_the_page_goes_on_by_itself(visit, account):  # noqa: F811
    make.make_instance(account, state="provisioning")
    page = visit("/instances")
    lost = page.get_by_text("The connection to Lambda is lost")
    expect(lost).to_be_hidden()
    page.context.set_offline(True)
    expect(lost).to_be_visible()
    page.context.set_offline(False)
    expect(lost).to_be_hidden(timeout=10_000)


def test_what_is_typed_stays_when_the_connection_is_lost_on_the_way(visit):  # noqa: F811
    page = visit("/instances/new")
    page.get_by_label("Name").fill("kept")
    page.context.set_offline(True)
    page.get_by_role("button", name="Create instance").click()
    expect(page.get_by_text("The connection to Lambda is lost")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("kept")
    page.context.set_offline(False)
    page.get_by_role("button", name="Create instance").click()
    page.wait_for_url("**/instances/inst_*")


def test_an_answer_that_was_on_its_way_does_not_say_that_the_connection_is_back(visit):  # noqa: F811
    page, held = visit("/instances/new"), []
    page.route("**/estimate?*", lambda route: held.append(route))
    with page.expect_request("**/estimate?*"):
        page.get_by_label("Name").fill("kept")
    page.context.set_offline(True)
    lost = page.get_by_text("The connection to Lambda is lost")
    expect(lost).to_be_visible()
    held[0].fulfill(body='<div id="estimate"><p>the answer</p></div>', content_type="text/html")
    expect(page.get_by_text("the answer")).to_be_attached()
    expect(lost).to_be_visible()


def test_who_was_signed_out_meanwhile_is_asked_to_sign_in(visit, account):  # noqa: F811
    make.make_instance(account, state="provisioning")
    page = visit("/instances")
    page.context.clear_cookies()
    page.wait_for_url("**/accounts/login/**")


def test_every_button_of_an_instance_shows_its_call_without_a_script(visit, account):  # noqa: F811
    row = make.make_instance(account)
    page = visit(f"/instances/{row.public_id}", java_script_enabled=False)
    page.get_by_role("button", name="API").click()
    dialog = page.locator("#calls")
    dialog.get_by_text("Stop", exact=True).click()
    sample = dialog.locator("details[open]")
    expect(sample.get_by_text("curl -X POST")).to_be_visible()
    sample.get_by_text("CLI", exact=True).click()
    expect(sample.get_by_text(f"lambda instances stop {row.public_id}")).to_be_visible()
    expect(sample.get_by_text("curl -X POST")).to_be_hidden()


def test_a_toast_says_what_was_done_above_everything(visit, account):  # noqa: F811
    page = visit("/settings/account")
    page.get_by_label("Name", exact=True).fill("Northwind Ltd")
    page.get_by_role("button", name="Save").click()
    toast = page.locator(".toasts")
    expect(toast).to_contain_text("Saved.")
    assert toast.evaluate("toasts => toasts.matches(':popover-open')")
    assert Membership.objects.get(account=account).account.name == "Northwind Ltd"


def test_every_part_is_sound_in_both_themes_and_on_a_phone(visit):  # noqa: F811
    for width, theme in ((1280, "light"), (1280, "dark"), (320, "light")):
        page = visit("/styleguide", width=width, color_scheme=theme)
        for call in page.locator("details.call").all():
            call.evaluate("call => call.open = true")
        inspect(page)
