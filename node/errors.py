"""How the node agent refuses: each class is one kind of answer on the wire, worded for the instance's owner.

The kinds are those of `compute.drivers.base`, named again here because the node imports nothing of the platform.
"""


class NodeError(Exception):
    """A refusal. `kind` is its name on the wire."""

    @property
    def kind(self) -> str:
        return type(self).__name__


class NotFound(NodeError):
    """No such instance on this node."""


class Conflict(NodeError):
    """Another specification under this id, or an operation older than one already carried out."""


class Capacity(NodeError):
    """No room on this node now."""


class Unsupported(NodeError):
    """This node cannot do it at all; the text says why and how to mend it."""


class Retryable(NodeError):
    """Temporary, or the outcome is unknown."""


class Fatal(NodeError):
    """Trying again will not help."""
