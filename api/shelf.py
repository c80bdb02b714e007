"""What rows look like in answers, kept in this process: a list makes anew only what changed since it was last shown."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")

ROOM = 10_000  # rows; full, it begins anew


class Shelf(Generic[K, T]):
    """Looks by key and version, which is raised with all that changes a row's look (`core.models.Row`)."""

    def __init__(self) -> None:
        self._kept: dict[K, tuple[int, T]] = {}

    def take(self, wanted: Iterable[tuple[K, int]], make: Callable[[list[K]], dict[K, tuple[int, T]]]) -> dict[K, T]:
        """The looks of these keys in these versions. `make` gives, as they are now, those that are not kept.

        A row that is gone by then is left out.
        """
        found, missing = {}, []
        for key, version in wanted:
            kept = self._kept.get(key)
            if kept and kept[0] == version:
                found[key] = kept[1]
            else:
                missing.append(key)
        if missing:
            made = make(missing)
            if len(self._kept) + len(made) > ROOM:
                self._kept.clear()
            self._kept.update(made)
            found.update({key: look for key, (_, look) in made.items()})
        return found
