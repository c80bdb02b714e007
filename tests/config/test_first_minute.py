"""The demo instance: its ssh command stands in the banner exactly while somebody would get in."""

import pytest

from accounts.models import Account
from compute.actions import instances
from config.demo import seed
from config.first_minute import HELLO, hello_instance
from core.context import SYSTEM
from tests.make import make_instance

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_the_demo_instance_that_somebody_stopped_has_no_ssh_line_and_is_no_problem(live_server, settings, tmp_path):
    settings.LAMBDA_HOME = tmp_path
    demo = seed()
    hello = make_instance(Account.objects.get(), name=HELLO)
    assert hello_instance(live_server.url, demo) == (f"ssh -F {tmp_path}/demo_ssh_config hello", "")
    stopping = instances.stop(instance=hello, by=SYSTEM)
    instances.mark_stopped(instance=stopping)
    assert hello_instance(live_server.url, demo) == ("", "")
