"""The page of the metrics: those of the indexer and those of the API."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from api.command_metrics import CommandCollector
from api.journal_metrics import JournalCollector
from api.metrics import STATES, ChainCollector, Metrics
from api.notice_metrics import NoticeCollector
from api.payment_metrics import PaymentCollector
from api.service import Service
from db.domains.settlement.routes.treasury import TreasuryCollector, TreasuryFigures
from db.domains.settlement.settings import SettlementSettings
from db.domains.settlement.treasury import state
from indexer import metrics as indexer_metrics
from ops.docs.markdown import code, page, table


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as it is declared."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def metrics_page() -> str:
    """Every metric, with its kind and its labels."""
    return page(
        "Metrics",
        "Prometheus reads the indexer's with `chainfold index --metrics-port` (on "
        "127.0.0.1) and the API's at `http://127.0.0.1:9464/metrics` "
        "([`[metrics]`](settings.md)), which is not the API's own port. The API takes "
        "those of the chains from the database when it is asked, so that they are told "
        "even when no indexer runs. Both also tell `process_*` and `python_*` of their "
        "process, but an API of several, whose requests are added up. A histogram is "
        "read as `_bucket`, `_sum` and `_count`.",
        "## The indexer",
        _table(indexer()),
        "## The API",
        _table(api()),
        f"The states of a chain: {', '.join(map(code, STATES))}.",
    )


def indexer() -> Iterator[Described]:
    """The metrics of the process that reads chains."""
    for item in vars(indexer_metrics).values():
        if isinstance(item, (Counter, Gauge, Histogram)):
            yield from _described(item.describe(), item)


def api() -> Iterator[Described]:
    """The metrics of the process that serves; asks no database."""
    nothing = SimpleNamespace(all=lambda *, fresh: {})
    service = cast(Service, SimpleNamespace(chains=nothing, command_service=None))
    made = Metrics(service)
    for item in (made.requests, made.seconds, made.problems):
        yield from _described(item.describe(), item)
    yield from _described(ChainCollector(service).collect())
    yield from _described(CommandCollector(service).metrics([], 0, [], 0, 0.0))
    yield from _described(JournalCollector(service).metrics(None))
    yield from _described(PaymentCollector(service).metrics(None))
    yield from _described([NoticeCollector(service).metric({})])
    treasury = TreasuryFigures(state([], 0, None, SettlementSettings()))
    yield from _described(TreasuryCollector(service).metrics(treasury))


def _described(families: Iterable[Metric], owner: Any = None) -> Iterator[Described]:
    for family in families:
        # The client keeps the labels of a metric without samples to itself.
        labels = tuple(getattr(owner or family, "_labelnames", ()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Described(name, family.type, labels, family.documentation)


def _table(metrics: Iterable[Described]) -> str:
    return table(
        ["metric", "kind", "labels", "is"],
        [
            (code(m.name), m.kind, ", ".join(map(code, m.labels)), m.meaning)
            for m in metrics
        ],
    )
