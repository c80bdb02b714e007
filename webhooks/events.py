"""What can happen to webhooks, and which event types a pattern means."""

from collections.abc import Collection

from core.events import declare, opt_in

declare(
    {
        "webhook.created": "A webhook was made.",
        "webhook.updated": "A webhook's address or event types changed, or it was enabled or disabled by hand.",
        "webhook.rotated": "A webhook got another secret; during the overlap both sign.",
        "webhook.deleted": "A webhook was deleted; nothing more is sent to it.",
        "webhook.test": "Somebody asked for a test delivery; it goes to that webhook alone.",
        "webhook.redelivered": "Somebody asked for one delivery to be sent again.",
        "webhook.replayed": "Somebody asked for all events of a period to be sent again.",
        "webhook.disabled": "A webhook was disabled because its receiver is gone or has failed for five days.",
    }
)


def matches(patterns: Collection[str], type: str) -> bool:
    """Whether a type is among patterns such as `instance.created`, `instance.*` and `*`, which means no opt-in type."""
    noun = type.partition(".")[0]
    return type in patterns or f"{noun}.*" in patterns or ("*" in patterns and type not in opt_in())
