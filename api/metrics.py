"""Every metric of the API, and what Postgres knows of the chains.

The indexer is another process with metrics of its own; how far each chain is read is
taken from the database when it is asked for, so that it is told even when no indexer
runs. What requests are counted by is shared by all processes that serve one port: each
writes into files of its own (`count_together`), and any of them adds them up.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from api.chains import ServedChain
from api.collectors import DatabaseCollector
from api.command_metrics import CommandCollector
from api.index import status_of
from api.journal_metrics import JournalCollector
from api.notice_metrics import NoticeCollector
from api.payment_metrics import PaymentCollector
from api.service import Service
from db.diagnosis import Ailment, diagnose
from db.reads import checkpoint, read
from db.status import ChainStatus

log = logging.getLogger(__name__)

# A client may invent others; a label must not have a value for each.
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
STATES = (
    "new", "reading", "following", "behind", "retrying", "stalled", "halted", "stopped",
)  # fmt: skip


disable_created_metrics()  # type: ignore[no-untyped-call]


def count_together(folder: Path) -> None:
    """Add this process's counters to those of others.

    For the process of a worker, before its app is made. Prometheus's library takes the
    folder from the environment alone.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one app, in registries of its own.

    With a `folder` the requests of all processes that count there are told, and nothing
    of one process alone.
    """

    def __init__(self, service: Service, folder: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self._told = self.registry if folder is None else CollectorRegistry()
        if folder is not None:
            MultiProcessCollector(  # type: ignore[no-untyped-call]
                self._told, path=str(folder)
            )
        self.requests = Counter(
            "chainfold_api_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "chainfold_api_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=self.registry,
        )
        self.problems = Counter(
            "chainfold_api_problems_total",
            "Requests that were refused or failed, by the problem that was told.",
            ["problem"],
            registry=self.registry,
        )
        # As many as there are labels: to look one up costs more than to count.
        self._counter = cache(self.requests.labels)
        self._timer = cache(self.seconds.labels)
        if folder is None:
            ProcessCollector(registry=self._told)
            PlatformCollector(registry=self._told)
        self._told.register(ChainCollector(service))
        self._told.register(JournalCollector(service))
        self._told.register(PaymentCollector(service))
        self._told.register(NoticeCollector(service))
        if service.command_service is not None:
            self._told.register(CommandCollector(service))

    def add(self, collector: Collector) -> None:
        """Tell the metrics of a domain too."""
        self._told.register(collector)

    def watch(self, app: Flask) -> None:
        """Count and time every request of an app."""
        app.before_request(_start)
        app.after_request(self._count)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._told)

    def _count(self, response: Response) -> Response:
        # The rule, not the path: a label must not have a value for every key.
        rule = request.url_rule
        route = "unmatched" if rule is None else rule.rule
        method = request.method if request.method in METHODS else "other"
        self._counter(method, route, response.status_code).inc()
        if (problem := g.get("problem")) is not None:
            self.problems.labels(problem).inc()
        started = g.get("started")
        if started is not None:
            self._timer(route).observe(time.perf_counter() - started)
        return response


def _database_up(value: int) -> Metric:
    up = GaugeMetricFamily("chainfold_database_up", "1 when Postgres answers.")
    up.add_metric([], value)
    return up


class ChainCollector(DatabaseCollector):
    """Metrics of each chain's progress, read from Postgres at each scrape."""

    def read(self) -> Iterator[Metric]:
        """Yield the status of every chain, and that the database answered."""
        chains = list(self._chains())
        yield _database_up(1)
        yield from _chain_metrics([status for status, _ in chains])
        reached = GaugeMetricFamily(
            "chainfold_projection_checkpoint_block",
            "Last block up to which a projection's events are read without a gap.",
            labels=["chain", "projection"],
        )
        for status, projections in chains:
            for plural, height in projections.items():
                if height is not None:
                    reached.add_metric([status.name, plural], height)
        yield reached

    def unread(self) -> list[Metric]:
        """Return that the database did not answer."""
        return [_database_up(0)]

    def _chains(self) -> Iterator[tuple[ChainStatus, dict[str, int | None]]]:
        for chain in self._service.chains.all(fresh=True).values():
            yield status_of(self._service, chain), self._checkpoints(chain)

    def _checkpoints(self, chain: ServedChain) -> dict[str, int | None]:
        projections = self._service.registry.projections

        def reached(connection: Connection) -> dict[str, int | None]:
            events = {
                plural: [event.spec.id for event in projection.spec.events]
                for plural, projection in projections.items()
                if not projection.spec.in_journal
            }
            return {
                plural: checkpoint(connection, chain.id, ids, chain.plan)
                for plural, ids in events.items()
            }

        return read(self._service.engine, reached)


def _proof_metric(chains: list[ChainStatus]) -> Metric:
    """The levels of proof: alarms may compare them with what a chain should reach."""
    gauge = GaugeMetricFamily(
        "chainfold_chain_proof_level",
        "Lowest level of proof of the blocks indexed: header 0 parent, 1 hash, 2 seals;"
        " logs 0 none, 1 bloom, 2 receipts.",
        labels=["chain", "of"],
    )
    for status in chains:
        if status.proof is not None:
            gauge.add_metric([status.name, "header"], status.proof.header)
            gauge.add_metric([status.name, "logs"], status.proof.logs)
    return gauge


def _chain_metrics(chains: list[ChainStatus]) -> Iterator[Metric]:
    gauges: dict[str, tuple[str, Callable[[ChainStatus], float | None]]] = {
        "head_block": ("Highest block reported.", lambda s: s.head),
        "checkpoint_block": ("Last block with no gap before it.", _checkpoint),
        "final_block": ("Highest block that cannot be undone.", lambda s: s.final),
        "lag_blocks": ("Head minus checkpoint.", lambda s: s.lag_blocks),
        "gaps": ("Gaps below what is written, ten at most.", lambda s: len(s.gaps)),
        "incidents": ("Open incidents.", lambda s: len(s.incidents)),
        "unread_logs": (
            "Logs of followed contracts that are in no table.",
            lambda s: s.undecodable,
        ),
        "followed": ("1 while a process follows it.", _followed),
        "polled_timestamp_seconds": (
            "When the head was last read, Unix time.",
            _polled,
        ),
    }
    for name, (help_, value_of) in gauges.items():
        gauge = GaugeMetricFamily(f"chainfold_chain_{name}", help_, labels=["chain"])
        for status in chains:
            value = value_of(status)
            if value is not None:
                gauge.add_metric([status.name], value)
        yield gauge
    yield _proof_metric(chains)
    state = GaugeMetricFamily(
        "chainfold_chain_state", "1 for the state it is in.", labels=["chain", "state"]
    )
    for status in chains:
        for name in {*STATES, status.state}:
            state.add_metric([status.name, name], int(name == status.state))
    yield state
    ailment = GaugeMetricFamily(
        "chainfold_chain_ailment",
        "1 for what ails it (none, catching_up, chain_halted, node_lagging, "
        "endpoint_down, …), as `status` says.",
        labels=["chain", "ailment"],
    )
    for status in chains:
        found = diagnose(status).ailment
        for kind in Ailment:
            ailment.add_metric([status.name, kind], int(kind is found))
    yield ailment


def _checkpoint(status: ChainStatus) -> int | None:
    return status.checkpoint


def _followed(status: ChainStatus) -> int:
    return int(status.followed_by is not None)


def _polled(status: ChainStatus) -> float | None:
    return None if status.polled_at is None else status.polled_at.timestamp()


def _start() -> None:
    g.started = time.perf_counter()
