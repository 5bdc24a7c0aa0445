"""Metrics of reading Stripe, read from Postgres at each scrape."""

import logging
from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from api.collectors import DatabaseCollector
from db.payments.status import PaymentStatus, payment_status
from db.reads import read

log = logging.getLogger(__name__)


class PaymentCollector(DatabaseCollector):
    """The reader of Stripe: its progress and faults."""

    def read(self) -> Iterator[Metric]:
        """Yield the metrics of the reader's state."""
        yield from self.metrics(read(self._service.engine, payment_status))

    def metrics(self, found: PaymentStatus | None) -> Iterator[Metric]:
        """The metrics of an account; None: none was read yet."""
        events = CounterMetricFamily(
            "chainfold_stripe_events",
            "Events read, by what came of them (said, nothing, foreign, ignored, "
            "other_account, other_mode, gone, odd).",
            labels=["outcome"],
        )
        gauges = {
            name: GaugeMetricFamily(f"chainfold_stripe_{name}", meaning)
            for name, meaning in (
                ("polled_timestamp_seconds", "When all was last read, Unix time."),
                ("cursor_timestamp_seconds", "The newest event read, Unix time."),
                ("read", "1 while a process reads it."),
                ("failing", "1 while something is in the way of reading."),
                ("waiting_objects", "Objects that are looked at again later."),
                ("webhooks_waiting", "Webhooks whose events were not retrieved yet."),
                ("swept_entries", "Entries that daily sweeps have added, best 0."),
                ("uncleared_reconciliations", "Those with drift nobody cleared."),
            )
        }
        if found is not None:
            row = found.row
            for outcome, count in found.counts.items():
                events.add_metric([outcome], count)
            values = {
                "polled_timestamp_seconds": None
                if row.polled_at is None
                else row.polled_at.timestamp(),
                "cursor_timestamp_seconds": row.cursor or None,
                "read": int(bool(row.read_by)),
                "failing": int(row.state not in ("new", "reading")),
                "waiting_objects": found.waiting,
                "webhooks_waiting": found.webhooks,
                "swept_entries": row.swept_added,
                "uncleared_reconciliations": found.uncleared,
            }
            for name, value in values.items():
                if value is not None:
                    gauges[name].add_metric([], value)
        yield events
        yield from gauges.values()
