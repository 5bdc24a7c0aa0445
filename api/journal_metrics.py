"""Metrics of the journal, read from Postgres at each scrape."""

import logging
from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from api.collectors import DatabaseCollector
from db.journal.head import Head, read_head
from db.reads import read

log = logging.getLogger(__name__)


class JournalCollector(DatabaseCollector):
    """The journal's head."""

    def read(self) -> Iterator[Metric]:
        """Yield the metrics of the head."""
        yield from self.metrics(read(self._service.engine, read_head))

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
