"""Reports: what a domain shows people on one page of the console.

    ReportPage(
        "Treasury",
        figures=[Figure("balance", "4,991.02 USDC", tone="good")],
        charts=[Chart("Balance by day", "USDC", days, {"balance": held})],
        tables=[ReportTable("Weeks", ("from", "outflow"), rows)],
    )

A report is values alone; the console draws it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Tone(StrEnum):
    """The way a figure is to be taken."""

    PLAIN = ""
    GOOD = "good"
    OPEN = "open"
    BAD = "bad"


class Form(StrEnum):
    """The way a chart is drawn."""

    LINE = "line"
    BARS = "bars"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and its name; `note` explains it in a sentence."""

    name: str
    value: str
    tone: Tone = Tone.PLAIN
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers over time: one for each label in each series, None where there is none.

    `limit` is drawn as a line across: what the numbers should not fall below. Raises
    ValueError for a series of another length than the labels.
    """

    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    form: Form = Form.LINE
    limit: float | None = None

    def __post_init__(self) -> None:
        for name, values in self.series.items():
            if len(values) != len(self.labels):
                raise ValueError(
                    f"{name} has {len(values)} values for {len(self.labels)} labels"
                )


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows of texts under their columns; those of `numbers` are aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ReportPage:
    """One page: figures, then charts, then tables; `notes` say what is missing."""

    title: str
    figures: Sequence[Figure] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[ReportTable] = ()
    notes: Sequence[str] = field(default=())
