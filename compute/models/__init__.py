from compute.models.instance import Instance
from compute.models.node import Node
from compute.models.ssh_key import SshKey

__all__ = ["Instance", "Node", "SshKey"]
