from webhooks.models.cursor import Cursor
from webhooks.models.delivery import Attempt, Delivery
from webhooks.models.endpoint import Endpoint

__all__ = ["Attempt", "Cursor", "Delivery", "Endpoint"]
