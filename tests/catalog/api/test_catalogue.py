"""The catalogue by the API: with or without a key, as it stands now."""

from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.models import InstanceType, Price, Region
from core import epoch
from tests.make import Api, make_api

pytestmark = pytest.mark.django_db

LISTS = ["instance-types", "regions", "images", "plans", "prices"]


@pytest.mark.parametrize("noun", LISTS)
def test_everything_is_listed_and_read_one_by_one_without_a_key(noun):
    rows, page = [], 1
    while True:
        answer = Api().get(f"/{noun}?page={page}&limit=10").json()
        rows += answer["data"]
        if not answer["pagination"]["has_next"]:
            break
        page += 1
    assert len(rows) == answer["pagination"]["total_items"] > 2
    name = "sku" if noun == "prices" else "slug"
    for row in rows:
        assert Api().get(f"/{noun}/{row[name]}").json()["data"] == row
    assert make_api(scopes=["instances:read"]).get(f"/{noun}").status_code == 200


@pytest.mark.parametrize("noun", LISTS)
def test_what_is_not_there_is_404(noun):
    for name in ("nothing", "%00", "..", "λ", "a" * 500):
        answer = Api().get(f"/{noun}/{name}")
        assert answer.status_code == 404
        assert answer.json()["success"] is False


def test_an_instance_type_says_what_it_is_what_it_costs_and_where_it_can_be_had():
    shown = Api().get("/instance-types/t2.micro").json()["data"]
    hourly = Price.objects.at("instance.compute-1x")
    assert shown["slug"] == "compute-1x"
    assert "t2.micro" in shown["aliases"]
    assert (shown["vcpus"], shown["memory_mb"]) == (1, 1024)
    assert float(shown["prices"]["hourly"]) == float(hourly)
    assert shown["prices"]["monthly"] == f"{hourly * 730:.2f}"
    assert shown["availability"]["status"] == "available"
    assert shown["availability"]["regions"] == list(Region.objects.on_sale().values_list("slug", flat=True))


def test_what_is_retired_is_not_listed_but_can_be_looked_up():
    InstanceType.objects.filter(slug="compute-1x").update(on_sale=False)
    Region.objects.filter(slug="us-east-1").update(on_sale=False)
    listed = Api().get("/instance-types?limit=100").json()["data"]
    assert "compute-1x" not in [row["slug"] for row in listed]
    assert all("us-east-1" not in row["availability"]["regions"] for row in listed)
    shown = Api().get("/instance-types/compute-1x").json()["data"]
    assert shown["availability"] == {"status": "retired", "regions": []}


def test_a_price_is_what_holds_now_and_its_versions_are_its_history():
    now, sku = timezone.now(), "instance.compute-1x"
    old = Api().get(f"/prices/{sku}").json()["data"]["unit_price"]
    Price.objects.create(sku=sku, unit_price="0.25", effective_from=now - timedelta(hours=1))
    Price.objects.create(sku=sku, unit_price="0.5", effective_from=now + timedelta(days=1))
    Price.objects.create(sku="volume.gb", unit_price="1", effective_from=now + timedelta(days=1))
    epoch.advance()
    shown = Api().get(f"/prices/{sku}").json()["data"]
    assert shown["unit_price"] == "0.25"
    assert [version["unit_price"] for version in shown["versions"]] == ["0.50", "0.25", old]
    assert Api().get("/instance-types/compute-1x").json()["data"]["prices"]["hourly"] == "0.25"
    assert Api().get("/prices/volume.gb").status_code == 404  # announced, not yet a price
    assert "volume.gb" not in [row["sku"] for row in Api().get("/prices?limit=100").json()["data"]]


def test_a_bad_key_is_refused_even_here():
    assert Api("lambda_sk_nonsense").get("/regions").status_code == 401
