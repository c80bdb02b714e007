"""The only code that touches machines. `open_driver` hands out the one that the settings name."""

from functools import cache
from importlib import import_module
from pathlib import Path

from compute.drivers.base import Driver

_DRIVERS = {"local": "compute.drivers.local:LocalDriver", "fake": "compute.drivers.fake:FakeDriver"}


@cache
def open_driver(name: str, home: Path) -> Driver:
    """The process's driver of that name, working under `home`. Raises KeyError for an unknown name."""
    module, _, factory = _DRIVERS[name].partition(":")
    return getattr(import_module(module), factory)(home)
