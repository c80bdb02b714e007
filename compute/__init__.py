"""Machines: instances and the SSH keys that open them. Requests write rows; `tasks` drives the machines after them."""
