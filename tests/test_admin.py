"""The operators' pages as they meet them, in a real Chromium: see tests/test_dashboard.py."""

import time
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import Viewing
from compute.actions import instances
from compute.models import Instance, Node
from config import health, queue
from tests import make
from tests.test_dashboard import SIGHTS, account, browser, visit  # noqa: F401  (fixtures)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]


@pytest.fixture
def operator(account):  # noqa: F811
    """The account's owner, who operates the platform as well: whoever `visit` signs in."""
    user = make.owner_of(account).user
    user.is_staff = user.is_superuser = True
    user.save()
    return user


@pytest.fixture
def installation(account):  # noqa: F811
    """A platform on which things happen. Answers an account of somebody else."""
    cache.set_many(dict.fromkeys([health.HEARTBEAT, queue.CLOCK, health.DISPATCHER], time.time()))
    capacity = {"vcpus": 8, "load": 1.5, "memory_mb": 16384, "memory_free_mb": 8192, "disk_free_mb": 102400}
    limits = {"cpu": "enforced", "memory": "enforced", "pids": "enforced", "disk": "none"}
    facts = {"ok": True, "tier": "root", "os": "Debian GNU/Linux 12 (bookworm)", "capacity": capacity, "limits": limits}
    Node.objects.update_or_create(name="local", defaults=facts | {"seen_at": timezone.now()})
    for state in ("running", "stopped", "error"):
        make.make_instance(account, state=state, name=f"{state}-1")
    row = make.make_instance(account, state="provisioning", name="image-builder")
    instances.postpone(instance=row, reason="The node has 120 MB of memory free and keeps 256 MB.")
    Instance.objects.filter(pk=row.pk).update(updated_at=timezone.now() - timedelta(minutes=5))
    other = make.make_account(name="Contoso")
    make.make_member(other, "viewer")
    make.make_key(other, name="Deploy from CI")
    make.make_ssh_key(other)
    return other


def inspect(page):
    """As the dashboard's, but axe may load no style sheets again: it would put them inline, which the policy forbids."""
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    assert [(found["id"], [node["target"] for node in found["nodes"]]) for found in violations] == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"


def page_of(row, name="change"):
    arguments = [row.pk] if name == "change" else []
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=arguments)


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_account_is_suspended_with_a_reason_and_resumed(visit, operator, installation, scripts):  # noqa: F811
    page = visit(page_of(installation), java_script_enabled=scripts)
    page.get_by_role("button", name="Suspend…").click()
    expect(page.get_by_role("main")).to_contain_text("Contoso")
    inspect(page) if scripts else None
    page.get_by_label("Reason").fill("Unpaid since June.")
    page.get_by_role("button", name="Suspend", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Suspended.")
    expect(page.get_by_role("main")).to_contain_text("Unpaid since June.")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Suspend…")).to_be_visible()


def test_an_operator_looks_at_the_dashboard_as_a_customer_and_ends_it(visit, operator, installation):  # noqa: F811
    member = make.owner_of(installation)
    page = visit(page_of(member))
    page.get_by_role("button", name="View the dashboard as them…").click()
    page.get_by_label("Reason").fill("Ticket 42")
    page.get_by_role("button", name="View the dashboard").click()
    page.wait_for_url("**/")
    banner = page.get_by_role("region", name="Operator")
    expect(banner).to_contain_text(f"Viewing as {member.user.email}, read only")
    page.goto("/settings/api-keys")
    expect(page.get_by_role("main")).to_contain_text("Deploy from CI")
    expect(banner).to_be_visible()
    page.goto("/settings/api-keys/new")
    expect(page.get_by_role("main")).to_contain_text("read only")
    banner.get_by_role("button", name="End").click()
    page.wait_for_url(f"**{page_of(installation)}")
    page.goto("/")
    expect(banner).to_have_count(0)
    assert Viewing.objects.get().ended_at


@pytest.mark.parametrize(("width", "theme"), SIGHTS)
def test_the_banner_can_be_used_by_everybody_on_any_screen(visit, operator, installation, width, theme):  # noqa: F811
    page = visit(page_of(make.owner_of(installation)), width=width, color_scheme=theme)
    page.get_by_role("button", name="View the dashboard as them…").click()
    page.get_by_label("Reason").fill("Ticket 42")
    inspect(page)
    page.get_by_role("button", name="View the dashboard").click()
    for path in ("/", "/instances", "/settings/account", "/accounts/email/"):
        page.goto(path)
        inspect(page)


def test_what_is_stuck_is_tried_again_from_the_health_page(visit, operator, installation):  # noqa: F811
    page = visit("/admin/health/")
    page.get_by_role("button", name="Try image-builder again").click()
    expect(page.locator(".messagelist")).to_contain_text("It is being tried again.")
    assert Instance.objects.get(name="image-builder").attempts == 0
