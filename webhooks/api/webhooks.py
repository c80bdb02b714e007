"""`/v1/webhooks`: where events are sent. What was sent is `deliveries.py`."""

from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired, TypedDict, cast

from django_filters import CharFilter
from rest_framework import serializers

from api.filters import AnyOf, Filters
from api.renderers import Accepted, Answer, Created, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet
from webhooks import signing, vectors
from webhooks.actions import deliveries, endpoints
from webhooks.api.deliveries import DeliveryOut
from webhooks.api.deliveries import representation as delivery_representation
from webhooks.models import Endpoint

STATES = ["active", "disabled"]
PATTERNS = "Event types, and patterns such as `instance.*` and `*`."


def _secret() -> serializers.CharField:
    return serializers.CharField(
        required=False, trim_whitespace=False, help_text="16 bytes or more. Default: one is made."
    )


def _events(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=200, help_text=PATTERNS, **options
    )


class CreateInput(Input):
    url = serializers.CharField(max_length=2000, help_text="https://…")
    events = _events()
    secret = _secret()

    example = {"url": "https://your-app.com/webhook", "events": ["instance.created", "instance.stopped"]}


class UpdateInput(Input):
    url = serializers.CharField(max_length=2000, required=False)
    events = _events(required=False)
    status = serializers.ChoiceField(STATES, required=False, help_text="Switch it on or off.")

    example = {"events": ["instance.*"]}


class RotateSecretInput(Input):
    overlap_hours = serializers.IntegerField(
        min_value=0,
        max_value=endpoints.MAX_OVERLAP_HOURS,
        default=24,
        help_text="How long the old secret goes on signing; 0 ends it at once.",
    )
    secret = _secret()

    example = {"overlap_hours": 24}


class ReplayInput(Input):
    to = serializers.DateTimeField(required=False, help_text="Default: now.")
    only_undelivered = serializers.BooleanField(default=False, help_text="Leave out what has arrived.")

    example = {"from": f"{datetime.now(UTC):%Y-%m-%dT00:00:00Z}"}

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's own."""
        start = serializers.DateTimeField(help_text="At most 30 days ago.")
        return {"from": start, **super().get_fields()}


class ReplayOut(TypedDict):
    to: datetime
    only_undelivered: bool


class WebhookOut(TypedDict):
    id: Annotated[str, public_id("wh")]
    url: Annotated[str, like("https://your-app.com/webhook")]
    events: Annotated[list[str], like(["instance.created", "instance.stopped"])]
    status: Annotated[str, {"enum": STATES}]
    disabled_at: datetime | None
    disabled_reason: Annotated[str | None, like("The receiver answered 410: it is gone for good.")]
    failing_since: Annotated[datetime | None, "Since when nothing has arrived there."]
    old_secret_until: Annotated[datetime | None, "Until then the secret before this one signs on."]
    replay: Annotated[ReplayOut | None, "A replay that is under way."]
    created_at: datetime
    updated_at: datetime
    secret: NotRequired[Annotated[str, like("whsec_…"), "Only in the answer that sets it."]]
    standard_secret: NotRequired[
        Annotated[str, like("whsec_…"), "The same secret as libraries for Standard Webhooks want it."]
    ]


class VectorOut(TypedDict):
    name: Annotated[str, like("a generated secret")]
    secrets: Annotated[
        list[str],
        like(["your-webhook-secret"]),
        "The first signs `signature` and `X-Lambda-Signature`; all sign `webhook-signature`.",
    ]
    unsigned: Annotated[
        str,
        like('{"id":"evt_01m803p6fsep5t56hn7y1dmqyp"}'),
        "The body without `signature`, over which `signature` is made.",
    ]
    body: Annotated[str, like('{"id":"evt_01m803p6fsep5t56hn7y1dmqyp"}'), "The body as it is sent, in UTF-8."]
    headers: dict[str, str]


Vectors = list[VectorOut]  # inside the view `list` is an action


def representation(endpoint: Endpoint) -> WebhookOut:
    replay: ReplayOut | None = (
        {"to": endpoint.replay_to, "only_undelivered": not endpoint.replay_all} if endpoint.replay_to else None
    )
    return {
        "id": endpoint.public_id,
        "url": endpoint.url,
        "events": endpoint.events,
        "status": endpoint.state,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason or None,
        "failing_since": endpoint.failing_since,
        "old_secret_until": endpoint.old_secret_until,
        "replay": replay,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def _with_secret(endpoint: Endpoint, secret: str) -> WebhookOut:
    return {**representation(endpoint), "secret": secret, "standard_secret": signing.standard_form(secret)}


class WebhookFilters(Filters):
    sorts = {"created_at": "pk", "url": "url"}

    status = AnyOf("state", lambda: dict(zip(STATES, STATES, strict=True)), label="One or more, by commas.")
    q = CharFilter("url", "icontains", label="What the url contains.")


class Webhooks(ViewSet):
    """Your receivers of events. Each event is sent as a signed POST until it arrives, for three days at most."""

    scopes = {
        "list": "webhooks:read",
        "retrieve": "webhooks:read",
        "create": "webhooks:write",
        "update": "webhooks:write",
        "destroy": "webhooks:write",
        "test": "webhooks:write",
        "rotate_secret": "webhooks:write",
        "replay": "webhooks:write",
        "test_vectors": "public",
    }
    query = {"list": WebhookFilters.query()}
    takes = {"create": CreateInput, "update": UpdateInput, "rotate_secret": RotateSecretInput, "replay": ReplayInput}

    def rows(self, request) -> Any:
        return Endpoint.objects.for_account(request.account).select_related("account")

    def list(self, request) -> Answer[Page[WebhookOut]]:
        return Answer(WebhookFilters.page(request, self.rows(request), representation))

    def retrieve(self, request, id: str) -> Answer[WebhookOut]:
        endpoint = self.row(request, id)
        return Answer(representation(endpoint), version=endpoint.version)

    def create(self, request) -> Created[WebhookOut]:
        made = endpoints.create(account=request.account, by=request.by, **CreateInput.sift(request))
        return Created(_with_secret(*made))

    def update(self, request, id: str) -> Answer[WebhookOut]:
        endpoint = endpoints.update(endpoint=self.row(request, id), by=request.by, **UpdateInput.read(request))
        return Answer(representation(endpoint), version=endpoint.version)

    def destroy(self, request, id: str) -> Answer[WebhookOut]:
        endpoint = self.row(request, id)
        shown = representation(endpoint)
        endpoints.delete(endpoint=endpoint, by=request.by)
        return Answer(shown)

    def test(self, request, id: str) -> Accepted[DeliveryOut]:
        """Send a test event

        A `webhook.test` event, to this webhook alone, whatever it listens to. The answer is the delivery to look at.
        """
        delivery = deliveries.test(endpoint=self.row(request, id), by=request.by)
        return Accepted(delivery_representation(delivery))

    def rotate_secret(self, request, id: str) -> Answer[WebhookOut]:
        """Replace the secret

        During the overlap the old secret signs `signature` and `X-Lambda-Signature`, and both sign `webhook-signature`.
        """
        made = endpoints.rotate_secret(endpoint=self.row(request, id), by=request.by, **RotateSecretInput.read(request))
        return Answer(_with_secret(*made))

    def replay(self, request, id: str) -> Accepted[WebhookOut]:
        """Send the events of a period again

        All that the webhook listens to now, with the same ids and bodies, also those from before it was made.
        """
        fields = ReplayInput.read(request)
        to = fields.get("to") or datetime.now(UTC)
        endpoint = endpoints.replay(
            endpoint=self.row(request, id),
            by=request.by,
            from_=fields["from"],
            to=to,
            only_undelivered=fields["only_undelivered"],
        )
        return Accepted(representation(endpoint))

    def test_vectors(self, request) -> Answer[Vectors]:
        """Get test vectors

        Deliveries with their secrets, for the tests of whoever verifies signatures.
        """
        return Answer(cast("Vectors", vectors.published()))
