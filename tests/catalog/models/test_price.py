"""Price versions: the one in force at a moment counts, and none ever changes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from catalog.models import Image, InstanceType, Plan, Price, Region
from core import epoch

pytestmark = [pytest.mark.django_db, pytest.mark.db]
START = datetime(2026, 1, 1, tzinfo=UTC)


def version(price, begins):
    epoch.advance()
    return Price.objects.create(sku="thing", unit_price=Decimal(price), effective_from=begins)


def test_the_newest_version_that_has_begun_is_in_force():
    version("1", START)
    version("3", timezone.now() + timedelta(days=1))
    version("2", START + timedelta(days=10))
    assert Price.objects.at("thing") == 2
    assert Price.objects.at("thing", START) == 1
    assert Price.objects.at("thing", START + timedelta(days=10)) == 2
    assert Price.objects.current()["thing"] == 2


def test_before_the_first_version_and_without_any_it_costs_nothing():
    version("1", START)
    assert Price.objects.at("thing", START - timedelta(seconds=1)) == 0
    assert Price.objects.at("no such thing") == 0


def test_a_version_never_changes():
    row = version("1", START)
    row.unit_price = Decimal(9)
    with pytest.raises(TypeError, match="add a new one"):
        row.save()


def test_everything_on_sale_has_a_price_and_every_name_means_one_thing():
    for sold in InstanceType.objects.on_sale():
        assert Price.objects.at(sold.sku) > 0
    for model in (InstanceType, Region, Image, Plan):
        entries = list(model.objects.on_sale())
        assert entries
        every_name = [name for entry in entries for name in (entry.slug, *entry.aliases)]
        assert len(every_name) == len(set(every_name))
        for entry in entries:
            for name in (entry.slug, *entry.aliases):
                assert model.objects.named(name) == entry


def test_what_is_off_sale_answers_to_no_name():
    Region.objects.filter(slug="us-east-1").update(on_sale=False)
    epoch.advance()
    assert Region.objects.named("us-east-1") is None
    assert Region.objects.named("us-east") is None


def test_the_documents_types_are_sold_at_their_sizes():
    sizes = {row.slug: (row.vcpus, row.memory_mb) for row in InstanceType.objects.all()}
    for number in (1, 2, 4, 8, 16):
        assert sizes[f"compute-{number}x"] == (number, 1024 * number)
        assert sizes[f"memory-{number}x"] == (number, 4096 * number)
    assert InstanceType.objects.named("t3.medium").slug == "compute-4x"
    assert Region.objects.named("us-east").slug == "us-east-1"
