"""Metrics of notices, read from Postgres at each scrape."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from api.collectors import DatabaseCollector
from db import notices
from db.notices import NoticeState
from db.reads import read


class NoticeCollector(DatabaseCollector):
    """The counts of notices that wait, were sent, or failed."""

    def read(self) -> Iterator[Metric]:
        """Yield the metric as the database has it."""
        yield self.metric(read(self._service.engine, notices.counts))

    def metric(self, found: Mapping[NoticeState, int]) -> Metric:
        """The metric of these counts."""
        gauge = GaugeMetricFamily(
            "chainfold_notices",
            "Notices of the last 90 days, by state (waiting, sent, failed, off).",
            labels=["state"],
        )
        for state, count in found.items():
            gauge.add_metric([state], count)
        return gauge
