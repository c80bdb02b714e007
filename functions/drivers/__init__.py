"""The only code that talks to a runner. `open_driver` hands out the one that the settings name."""

from functools import cache
from importlib import import_module
from pathlib import Path

from functions.drivers.base import Driver

_DRIVERS = {"local": "functions.drivers.local:LocalDriver", "fake": "functions.drivers.fake:FakeDriver"}


@cache
def open_driver(name: str, home: Path) -> Driver:
    """The process's runner of that name, working under `home`. Raises KeyError for an unknown name."""
    module, _, factory = _DRIVERS[name].partition(":")
    return getattr(import_module(module), factory)(home)
