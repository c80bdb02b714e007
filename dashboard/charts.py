"""The geometry of charts: numbers in, shapes in a square of 100 × 100 out. `templatetags/charts.py` draws them.

A chart is a few series over the same labels. None is a gap: nothing was measured, which is not the same as zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

Values = Sequence[float | None]
UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


class Rect(NamedTuple):
    """A part of a bar: its tone, and where it stands from the left and the top."""

    tone: str
    x: float
    y: float
    width: float
    height: float


class Column(NamedTuple):
    """Everything at one label: each series' value in words and all of them in one sentence, then the
    width to point at, and the bars and dots in it."""

    label: str
    said: list[str]
    words: str
    x: float
    width: float
    rects: list[Rect]
    dots: list[tuple[str, float, float]]


@dataclass(frozen=True)
class Chart:
    """`series`: (name, values) or (name, values, tone), tone being ok, warn, bad, quiet or nothing for the next colour.

    `unit` is written after each number; "$" before it, and "bytes" become KB, MB and so on.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Sequence[Any]]
    unit: str = ""
    stacked: bool = False

    @cached_property
    def names(self) -> list[tuple[str, str]]:
        """Each series' name and tone."""
        return [(one[0], one[2] if len(one) > 2 else f"tone-{at % 5 + 1}") for at, one in enumerate(self.series)]

    @property
    def empty(self) -> bool:
        return not any(value for one in self.series for value in one[1])

    @cached_property
    def top(self) -> float:
        """The upper end of the scale: a round number that holds every value, and whose half is one as well."""
        rows = [[one[1][at] or 0 for one in self.series] for at in range(len(self.labels))]
        return nice(max((sum(row) if self.stacked else max(row, default=0) for row in rows), default=0), self.unit)

    @property
    def ticks(self) -> list[str]:
        """What stands beside the scale, from the top to zero."""
        return [spoken(self.top * part, self.unit) for part in (1, 0.5, 0)]

    def columns(self) -> list[Column]:
        count, found = len(self.labels), []
        for at, label in enumerate(self.labels):
            width, values = 100 / count, [one[1][at] for one in self.series]
            said = [spoken(value, self.unit) for value in values]
            told = (
                said if len(said) == 1 else [f"{name} {text}" for (name, _), text in zip(self.names, said, strict=True)]
            )
            words = f"{label}: {', '.join(told)}"
            found.append(Column(label, said, words, at * width, width, self._rects(at, width), self._dots(at)))
        return found

    def lines(self) -> list[tuple[str, str]]:
        """Each unbroken piece of each series: its tone and its points as SVG writes them. One value alone is a dash."""
        found, dash = [], 0.3 * 100 / max(len(self.labels), 1)
        for (_, tone), one in zip(self.names, self.series, strict=True):
            piece: list[str] = []
            for at, value in enumerate([*one[1], None]):
                if value is not None:
                    last = self._middle(at), self._height(value)
                    piece.append(f"{last[0]:.2f},{last[1]:.2f}")
                elif piece:
                    if len(piece) == 1:
                        piece = [f"{last[0] + side:.2f},{last[1]:.2f}" for side in (-dash, dash)]
                    found.append((tone, " ".join(piece)))
                    piece = []
        return found

    def _rects(self, at: int, width: float) -> list[Rect]:
        found, base = [], 100.0
        thick = width * 0.72 if len(self.labels) > 1 else 20
        for (_, tone), one in zip(self.names, self.series, strict=True):
            if value := one[1][at]:
                height = 100 - self._height(value)
                base -= height
                found.append(Rect(tone, self._middle(at) - thick / 2, base, thick, height))
        return found

    def _dots(self, at: int) -> list[tuple[str, float, float]]:
        values = [(tone, one[1][at]) for (_, tone), one in zip(self.names, self.series, strict=True)]
        return [(tone, self._middle(at), self._height(value)) for tone, value in values if value is not None]

    def _middle(self, at: int) -> float:
        return (at + 0.5) * 100 / len(self.labels)

    def _height(self, value: float) -> float:
        return 100 - float(value) / self.top * 100


def nice(value: float, unit: str = "") -> float:
    """The next round number that is at least `value`; 1 for zero, and 100 for a percentage above half."""
    if unit == "%" and value > 50:
        return 100 if value <= 100 else nice(value)
    if value <= 0:
        return 1
    if unit == "bytes":
        return float(2 ** math.ceil(math.log2(float(value))))
    power = 10.0 ** math.floor(math.log10(float(value)))
    return next(step * power for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= float(value) * (1 - 1e-9))


def spoken(value: float | None, unit: str = "") -> str:
    """`1,234 ms`, `$3.50`, `1.5 GB`, `42%`; an em dash where nothing was measured."""
    if value is None:
        return "—"
    if unit == "$":
        return f"${float(value):,.2f}"
    number, power = float(value), 0
    while unit == "bytes" and abs(number) >= 1024 and power < len(UNITS) - 1:
        number, power = number / 1024, power + 1
    text = f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:,.3g}"
    word = UNITS[power] if unit == "bytes" else unit
    return f"{text}{'' if word in ('', '%') else ' '}{word}"


def sparkline(values: Values) -> list[str]:
    """The points of a line through the values, each unbroken piece for itself, in 100 × 100."""
    top = max((float(value) for value in values if value), default=1.0)
    step = 100 / max(len(values) - 1, 1)
    pieces: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{at * step:.1f},{95 - float(value) / top * 90:.1f}")
    return [" ".join(piece) for piece in pieces if piece]
