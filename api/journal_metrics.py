"""Metrics of the journal, read from Postgres at each scrape."""

import logging
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.service import Service
from db.journal.head import Head, read_head
from db.reads import ReadError, read

log = logging.getLogger(__name__)


class JournalCollector(Collector):
    """The journal's head."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The head as it is now; without a database, nothing."""
        try:
            head = read(self._service.engine, read_head)
        except ReadError as error:
            log.warning("metrics_without_database cause=%s", type(error).__name__)
            return
        yield from self.metrics(head)

    def metrics(self, head: Head | None) -> Iterator[Metric]:
        """The metrics of a head; None: the journal was not begun."""
        entries = GaugeMetricFamily("chainfold_journal_entries", "Entries appended.")
        last = GaugeMetricFamily(
            "chainfold_journal_last_entry_timestamp_seconds",
            "Time of the last, Unix time.",
        )
        if head is not None:
            entries.add_metric([], head.seq)
        if head is not None and head.seq:
            last.add_metric([], head.at.timestamp())
        yield entries
        yield last
