"""`/v1/plans`: what an account may do, and what that costs a month."""

from typing import Annotated, TypedDict

from api.renderers import Answer, Page, like
from catalog.api.entries import Catalogue, availability
from catalog.models import Plan


class PlanLimitsOut(TypedDict):
    requests_per_hour: Annotated[int, like(10_000)]
    burst: Annotated[int, like(200), "How many of them may come at once."]
    instances: Annotated[int, like(50)]
    vcpus: Annotated[int, like(200)]
    ssh_keys: Annotated[int, like(100)]
    api_keys: Annotated[int, like(100)]
    functions: Annotated[int, like(500)]
    concurrency: Annotated[int, like(200), "Executions of all functions at once."]


class PlanOut(TypedDict):
    slug: Annotated[str, like("professional")]
    name: Annotated[str, like("Professional")]
    limits: PlanLimitsOut
    monthly_price: Annotated[str, like("49.00"), "A decimal."]
    currency: Annotated[str, like("USD")]
    availability: Annotated[str, {"enum": ["available", "retired"]}]


class Plans(Catalogue):
    """What an account may do, and what that costs a month."""

    model = Plan

    def representations(self, entries: list[Plan]) -> list[PlanOut]:
        return [
            {
                "slug": plan.slug,
                "name": plan.name,
                "limits": {
                    "requests_per_hour": plan.requests_per_hour,
                    "burst": plan.burst,
                    "instances": plan.max_instances,
                    "vcpus": plan.max_vcpus,
                    "ssh_keys": plan.max_ssh_keys,
                    "api_keys": plan.max_api_keys,
                    "functions": plan.max_functions,
                    "concurrency": plan.max_concurrency,
                },
                "monthly_price": f"{plan.monthly_price:.2f}",
                "currency": "USD",
                "availability": availability(plan),
            }
            for plan in entries
        ]

    def list(self, request) -> Answer[Page[PlanOut]]:
        return self.page(request)

    def retrieve(self, request, slug: str) -> Answer[PlanOut]:
        return self.entry(slug)
