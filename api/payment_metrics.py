"""Metrics of reading Stripe, read from Postgres at each scrape."""

import logging
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from api.service import Service
from db.payments.status import PaymentStatus, payment_status
from db.reads import ReadError, read

log = logging.getLogger(__name__)


class PaymentCollector(Collector):
    """The reader of Stripe: its progress, and what is in the way."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The state as it is now; without a database, nothing."""
        try:
            found = read(self._service.engine, payment_status)
        except ReadError as error:
            log.warning("metrics_without_database cause=%s", type(error).__name__)
            return
        yield from self.metrics(found)

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
