"""`/v1/webhooks/{id}/deliveries`: what was sent to a webhook, and what came of it."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from api.filters import AnyOf, Filters
from api.renderers import Accepted, Answer, Page, like, public_id
from api.views import ViewSet, found
from core import ids
from core.events import declared
from core.models import Event
from webhooks.actions import deliveries
from webhooks.models import Attempt, Delivery, Endpoint
from webhooks.models.delivery import STATES

__all__ = ["Deliveries", "DeliveryOut", "representation"]


class DeliveryOut(TypedDict):
    id: Annotated[str, public_id("whd")]
    event_id: Annotated[str, public_id("evt")]
    event_type: Annotated[str, like("instance.created")]
    sequence: Annotated[int, "Counts the webhook's deliveries without a gap; the X-Lambda-Sequence header."]
    status: Annotated[str, {"enum": STATES}]
    attempts: Annotated[int, "Made so far."]
    response_status: Annotated[int | None, like(200), "Of the last attempt; null where nobody answered."]
    error: Annotated[str | None, like("There was no answer within 10 s.")]
    duration_ms: Annotated[int | None, "From dialling to the answer, of the last attempt."]
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None


class AttemptRequestOut(TypedDict):
    url: Annotated[str, like("https://your-app.com/webhook")]
    headers: dict[str, str]
    body: Annotated[str, like('{"id":"evt_01m803p6fsep5t56hn7y1dmqyp", …}'), "Exactly what was sent, in UTF-8."]


class AttemptResponseOut(TypedDict):
    status: Annotated[int, like(200)]
    headers: dict[str, str]
    body: Annotated[str, like("thank you"), "The first 4 KiB."]


class AttemptOut(TypedDict):
    number: int
    at: datetime
    duration_ms: int
    error: str | None
    request: AttemptRequestOut
    response: AttemptResponseOut | None


class DeliveryDetailOut(DeliveryOut):
    tried: Annotated[list[AttemptOut], "Every attempt, oldest first."]


def representation(delivery: Delivery) -> DeliveryOut:
    return {
        "id": delivery.public_id,
        "event_id": ids.encode(Event.prefix, delivery.event_id),
        "event_type": delivery.event_type,
        "sequence": delivery.sequence,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "response_status": delivery.last_status,
        "error": delivery.last_error or None,
        "duration_ms": delivery.last_ms,
        "next_attempt_at": delivery.next_attempt_at if delivery.state == "pending" else None,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
    }


def _attempt(attempt: Attempt, event: Event) -> AttemptOut:
    response: AttemptResponseOut | None = (
        None
        if attempt.status is None
        else {"status": attempt.status, "headers": attempt.response_headers, "body": attempt.response_body}
    )
    return {
        "number": attempt.number,
        "at": attempt.at,
        "duration_ms": attempt.duration_ms,
        "error": attempt.error or None,
        "request": {
            "url": attempt.url,
            "headers": attempt.request_headers,
            "body": attempt.body(event).decode(),
        },
        "response": response,
    }


class DeliveryFilters(Filters):
    sorts = {"created_at": "pk"}

    status = AnyOf("state", lambda: dict(zip(STATES, STATES, strict=True)), label="One or more, by commas.")
    type = AnyOf("event_type", lambda: {type: type for type in declared()}, label="Event types, by commas.")


class Deliveries(ViewSet):
    """What was sent to a webhook, with every attempt. Kept for 30 days."""

    scopes = {"list": "webhooks:read", "retrieve": "webhooks:read", "redeliver": "webhooks:write"}
    query = {"list": DeliveryFilters.query()}

    def rows(self, request) -> Any:
        mine = Endpoint.objects.for_account(request.account)
        return Delivery.objects.of(found(mine, self.kwargs["webhook_id"]))

    def list(self, request, webhook_id: str) -> Answer[Page[DeliveryOut]]:
        return Answer(DeliveryFilters.page(request, self.rows(request), representation))

    def retrieve(self, request, webhook_id: str, id: str) -> Answer[DeliveryDetailOut]:
        delivery = self.row(request, id)
        event = delivery.event
        tried = [_attempt(attempt, event) for attempt in delivery.tried.all()]
        return Answer({**representation(delivery), "tried": tried})

    def redeliver(self, request, webhook_id: str, id: str) -> Accepted[DeliveryOut]:
        """Send a delivery again

        The same id and body, with ten attempts anew.
        """
        delivery = deliveries.redeliver(delivery=self.row(request, id), account=request.account, by=request.by)
        return Accepted(representation(delivery))
