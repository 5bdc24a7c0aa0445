"""Charts as inline SVG, drawn here: the console's pages run no script.

Colours are classes of the style sheet, which knows both colour schemes. Every value is
in the picture as a text that is shown on pointing at it, and below it in a table.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from db.declare.reports import Chart, Form

WIDTH, HEIGHT = 640.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 8.0, 12.0, 24.0
TICKS = 4
LABELS = 6  # at most so many under the axis
LETTER = 6.6  # the width of a letter of a label, at most
SMALLEST = 1e-9  # what is smaller is drawn as zero
BAR_SHARE = 0.8  # of a label's place that its bars fill


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places in the picture."""

    low: float
    high: float
    count: int

    def x(self, place: float) -> float:
        """Return where a label's middle is."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / max(self.count, 1)

    def y(self, value: float) -> float:
        """Return where a value is."""
        room = HEIGHT - TOP - BOTTOM
        return TOP + room * (self.high - value) / (self.high - self.low)


def svg(chart: Chart) -> Markup:
    """Return the picture of a chart."""
    scale = _scale(chart)
    draw = _bars if chart.form is Form.BARS else _lines
    parts = [*_axes(chart, scale), *draw(chart, scale)]
    return Markup(  # noqa: S704 - every part is escaped or a number
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(chart.title)}">{"".join(parts)}</svg>'
    )


def shown(value: float | None) -> str:
    """Return a value as the picture's texts have it."""
    if value is None:
        return "none"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.6g}"


def _scale(chart: Chart) -> _Scale:
    """From 0, or the lowest value, to a round number above the highest."""
    values = [each for row in chart.series.values() for each in row if each is not None]
    if chart.limit is not None:
        values.append(chart.limit)
    top, low = max(values, default=0.0), min(values, default=0.0)
    step = _step(max(top, 0.0) - min(low, 0.0))
    return _Scale(
        math.floor(min(low, 0.0) / step) * step,
        max(math.ceil(max(top, 0.0) / step), 1) * step,
        len(chart.labels),
    )


def _step(extent: float) -> float:
    """Return 1, 2, or 5 times a power of ten, so that about `TICKS` fit."""
    if extent < SMALLEST:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(extent / TICKS))
    return next(
        each * power for each in (1, 2, 5, 10) if each * power * TICKS >= extent
    )


def _axes(chart: Chart, scale: _Scale) -> Iterator[str]:
    step = _step(scale.high - scale.low)
    for number in range(round((scale.high - scale.low) / step) + 1):
        value = scale.low + number * step
        y = scale.y(value)
        yield _line("grid", LEFT, y, WIDTH - RIGHT, y)
        yield _text(LEFT - 6, y + 4, shown(value), "end")
    every = max(1, math.ceil(len(chart.labels) / LABELS))
    for place, label in enumerate(chart.labels):
        if (len(chart.labels) - 1 - place) % every == 0:
            half = LETTER * len(label) / 2
            x = max(min(scale.x(place), WIDTH - half), half)  # none is cut off
            yield _text(x, HEIGHT - 6, label, "middle")
    if chart.limit is not None:
        y = scale.y(chart.limit)
        yield _line("limit", LEFT, y, WIDTH - RIGHT, y)


def _lines(chart: Chart, scale: _Scale) -> Iterator[str]:
    for number, (name, values) in enumerate(chart.series.items()):
        for run in _runs(values):
            points = " ".join(f"{scale.x(x):.1f},{scale.y(v):.1f}" for x, v in run)
            yield f'<polyline class="line s{number % 4}" points="{points}"/>'
            for x, value in run:
                yield (
                    f'<circle class="dot s{number % 4}" cx="{scale.x(x):.1f}" '
                    f'cy="{scale.y(value):.1f}" r="3">'
                    f"{_title(chart, name, x, value)}</circle>"
                )


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """The stretches without a gap, as places and values."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append((place, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _bars(chart: Chart, scale: _Scale) -> Iterator[str]:
    room = (WIDTH - LEFT - RIGHT) / max(scale.count, 1) * BAR_SHARE
    width = room / max(len(chart.series), 1)
    for number, (name, values) in enumerate(chart.series.items()):
        for place, value in enumerate(values):
            if value is None:
                continue
            left = scale.x(place) - room / 2 + number * width
            top, bottom = sorted((scale.y(value), scale.y(0)))
            yield (
                f'<rect class="bar s{number % 4}" x="{left:.1f}" y="{top:.1f}" '
                f'width="{max(width - 1, 1):.1f}" height="{bottom - top:.1f}">'
                f"{_title(chart, name, place, value)}</rect>"
            )


def _title(chart: Chart, name: str, place: int, value: float) -> str:
    text = f"{chart.labels[place]}, {name}: {shown(value)} {chart.unit}"
    return f"<title>{escape(text)}</title>"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    places = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line class="{kind}" {places}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
