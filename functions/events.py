"""What can happen to functions."""

from core.events import declare

declare(
    {
        "function.created": "A function was created; it can be invoked once its code is active.",
        "function.deployed": "A new version of a function is live.",
        "function.deploy_failed": "A version could not be built; what was live stays so.",
        "function.activated": "An earlier version of a function is live again.",
        "function.updated": "A function's configuration, tags, code or what it shall do next changed.",
        "function.deprecated": "A function is deprecated: it says so to its callers, until it ends.",
        "function.redriven": "Dead letters of a function were queued again.",
        "function.deleted": "A function is gone.",
    }
)
declare(
    {
        "execution.succeeded": "An execution of a function came to its end. Only for who names this type.",
        "execution.failed": "An execution of a function failed for good. Only for who names this type.",
    },
    opt_in=True,
)
