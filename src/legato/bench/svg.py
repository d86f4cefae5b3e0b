"""Line and point plots as inline SVG; colours come from the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 16, 46
LEGEND_LINE = 18
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Named points; `colour` counts from 0, `dashed` for what is not measured but asked."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False
    marks: bool = True
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A value's place on a line. `low` and `high` are values, both > 0 where it is logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def around(
        cls, label: str, values: Sequence[float], *, log: bool = False, zero: bool = True
    ) -> Axis:
        """An axis that holds all `values`."""
        if log:
            positive = [value for value in values if value > 0] or [1.0]
            low, high = min(positive), max(positive)
            return cls(label, low / 1.2, max(high, low * 2) * 1.2, True)
        low = min([0.0, *values] if zero else values)
        high = max([*values, low + 1e-9])
        return cls(label, low, high + (high - low) * 0.05)

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Round values inside."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if len(decades) > 4 else (1, 2, 5)
    candidates = [factor * 10.0**decade for decade in decades for factor in factors]
    return [value for value in candidates if low <= value <= high]


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with two axes."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series] = field(default_factory=tuple)

    def render(self) -> str:
        """An <svg> element."""
        rows = (len(self.series) + 1) // 2
        height = HEIGHT + LEGEND_LINE * rows
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(self.title)}">',
            *self._grid(),
            *(self._draw(series) for series in self.series),
            *(self._legend(number, series) for number, series in enumerate(self.series)),
            "</svg>",
        ]
        return "\n".join(parts)

    def _x(self, value: float) -> float:
        return LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return TOP + (1 - self.y.place(value)) * (HEIGHT - TOP - BOTTOM)

    def _grid(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for value in self.y.ticks():
            y = self._y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
            parts.append(_text(LEFT - 6, y + 4, _number(value), "end"))
        for value in self.x.ticks():
            x = self._x(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
            parts.append(_text(x, bottom + 16, _number(value)))
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(_text((LEFT + right) / 2, bottom + 34, self.x.label))
        middle = (TOP + bottom) / 2
        turned = f'transform="rotate(-90 14 {middle:.1f})"'
        parts.append(_text(14, middle, self.y.label, extra=turned))
        return parts

    def _draw(self, series: Series) -> str:
        places = [(self._x(x), self._y(y)) for x, y in series.points]
        if series.steps:
            places = _as_steps(places)
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""
        style = f'class="line c{series.colour % 6}{" dashed" if series.dashed else ""}"'
        drawn = f'<path {style} d="{path}"/>' if len(places) > 1 else ""
        if series.marks:
            for x, y in series.points:
                at = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
                drawn += f'<circle class="dot c{series.colour % 6}" {at} r="3.5">'
                drawn += (
                    f"<title>{escape(series.name)}: {_number(x)}, {_number(y)}</title></circle>"
                )
        return drawn

    def _legend(self, number: int, series: Series) -> str:
        column, row = number % 2, number // 2
        x = LEFT + column * (WIDTH - LEFT - RIGHT) / 2
        y = HEIGHT + LEGEND_LINE * row + 4
        style = f"line c{series.colour % 6}{' dashed' if series.dashed else ''}"
        line = f'<path class="{style}" d="M{x:.1f} {y}h18"/>'
        return line + _text(x + 24, y + 4, series.name, "start")


def _as_steps(places: Sequence[Point]) -> list[Point]:
    """Level until the next point, then up."""
    corners = [corner for (_, y), after in pairwise(places) for corner in ((after[0], y), after)]
    return [*places[:1], *corners]


def _text(x: float, y: float, text: str, anchor: str = "middle", extra: str = "") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}'
    return f"<text {where}>{escape(text)}</text>"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
