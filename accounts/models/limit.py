"""What an account's plan allows, and how much of it is in use. No rows of its own: plan, counters and keys say it."""

from typing import NamedTuple

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from catalog.models import Plan
from core.models import Counter

# Name, the plan's field that limits it, and the counter that says how many there are.
COUNTED = [
    ("instances", "max_instances", "instance"),
    ("vcpus", "max_vcpus", "vcpu"),
    ("ssh_keys", "max_ssh_keys", "ssh_key"),
    ("functions", "max_functions", "function"),
]


MAX_WEBHOOKS = 50  # of an account, whatever its plan


class Limit(NamedTuple):
    name: str
    limit: int
    used: int


def limits(account: Account) -> list[Limit]:
    """Everything that is counted but requests, which the limiter alone knows."""
    plan = Plan.objects.get(pk=account.plan_id)  # what the process remembers of the account may be seconds old
    counts = dict(Counter.objects.filter(account_id=account.pk).values_list("kind", "count"))
    keys = ApiKey.objects.filter(account=account).working().count()
    rows = [Limit(name, getattr(plan, field), counts.get(kind, 0)) for name, field, kind in COUNTED]
    webhooks = Limit("webhooks", MAX_WEBHOOKS, counts.get("webhook", 0))
    return [*rows, Limit("api_keys", plan.max_api_keys, keys), webhooks]
