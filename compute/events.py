"""What can happen to machines and their keys."""

from core.events import declare

declare(
    {
        "instance.requested": "An instance was accepted and will be made.",
        "instance.created": "An instance is up for the first time.",
        "instance.ready": "An instance answers SSH.",
        "instance.started": "A stopped instance runs again.",
        "instance.stopped": "An instance is stopped; its disk and address stay.",
        "instance.restarted": "An instance was restarted.",
        "instance.resized": "An instance has another type.",
        "instance.rebuilt": "An instance was made anew from an image; its address stays.",
        "instance.updated": "An instance's name, tags, protection or what it shall do next changed.",
        "instance.deleted": "An instance is gone.",
        "instance.failed": "Something went wrong with an instance; its status_reason says what.",
        "ssh_key.added": "An SSH key was added to the account.",
        "ssh_key.updated": "An SSH key was renamed.",
        "ssh_key.removed": "An SSH key was removed from the account; instances that have it keep it.",
    }
)
