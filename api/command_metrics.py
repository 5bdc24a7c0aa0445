"""Metrics of commands and signers, read from Postgres at each scrape."""

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from api.collectors import DatabaseCollector
from api.service import Service
from commands.errors import NodeAway
from commands.lane import NoLane
from db import outbox
from db.commands.health import SignerHealth, signer_health
from db.commands.listing import CommandCount, count_commands, count_executed_late
from db.commands.states import State
from db.reads import read

BALANCE_SECONDS = 30.0  # however often somebody looks

log = logging.getLogger(__name__)


class CommandCollector(DatabaseCollector):
    """Commands by state, signers' queues, and requests of reactions."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._asked_at = -BALANCE_SECONDS
        self._coins: dict[str, float] = {}

    def read(self) -> Iterator[Metric]:
        """Yield all metrics of commands."""
        now = datetime.now(UTC)

        def look(
            connection: Connection,
        ) -> tuple[list[CommandCount], int, list[SignerHealth], int, datetime | None]:
            return (
                count_commands(connection),
                count_executed_late(connection),
                signer_health(connection, now),
                *outbox.waiting(connection),
            )

        counts, late, signers, requests, since = read(self._service.engine, look)
        age = 0.0 if since is None else (now - since).total_seconds()
        yield from self.metrics(counts, late, signers, requests, age)

    def metrics(
        self,
        counts: Iterable[CommandCount],
        executed_late: int,
        signers: Iterable[SignerHealth],
        requests: int,
        oldest_seconds: float,
    ) -> Iterator[Metric]:
        """Yield the metrics of these counts."""
        yield _by_state(list(counts))
        yield _gauge(
            "chainfold_commands_executed_late",
            "Commands that their wallet executed after they had ended without success.",
            executed_late,
        )
        yield from signer_metrics(signers)
        yield self._balances(signers)
        yield _gauge(
            "chainfold_outbox_waiting",
            "Commands that reactions asked for and that are not submitted.",
            requests,
        )
        yield _gauge(
            "chainfold_outbox_oldest_seconds",
            "Seconds that the oldest of them has waited.",
            oldest_seconds,
        )

    def _balances(self, signers: Iterable[SignerHealth]) -> Metric:
        """Return balances, cached for a while; none while no node answers."""
        gauge = GaugeMetricFamily(
            "chainfold_signer_balance_coins",
            "What a signer can pay with, in whole coins: 1e18 wei, 1e9 lamports.",
            labels=["signer"],
        )
        if time.monotonic() - self._asked_at >= BALANCE_SECONDS:
            self._asked_at, self._coins = time.monotonic(), self._ask(signers)
        for name, coins in self._coins.items():
            gauge.add_metric([name], coins)
        return gauge

    def _ask(self, signers: Iterable[SignerHealth]) -> dict[str, float]:
        """Return the balances of signers in whole coins, where a node answers."""
        command_service = self._service.command_service
        found: dict[str, float] = {}
        away: set[int] = set()
        for each in signers if command_service is not None else ():
            assert command_service is not None
            if each.source in away:
                continue  # each question to a silent node costs its whole time
            try:
                lane = command_service.lane_of(each.source)
                amount = lane.balance(each.key)
                found[each.name] = amount / 10**lane.decimals
            except (NodeAway, NoLane):
                away.add(each.source)
        return found


def _by_state(counts: list[CommandCount]) -> Metric:
    gauge = GaugeMetricFamily(
        "chainfold_commands", "Commands by state and kind.", labels=["state", "kind"]
    )
    counted: Tally[tuple[str, str]] = Tally()
    for each in counts:
        counted[each.state, each.kind] += each.count
    for kind in sorted({each.kind for each in counts}):
        for state in State:
            gauge.add_metric([state, kind], counted[state, kind])
    return gauge


def signer_metrics(signers: Iterable[SignerHealth]) -> Iterator[Metric]:
    """One gauge for each thing that is known of a signer."""
    found = list(signers)
    gauges: dict[str, tuple[str, Callable[[SignerHealth], float]]] = {
        "next_nonce": ("The nonce that is taken next.", lambda s: s.next_nonce),
        "open_slots": ("Nonces taken and not resolved.", lambda s: s.open_slots),
        "oldest_open_seconds": (
            "Age of the oldest unresolved nonce.", lambda s: s.oldest_open_seconds,
        ),
        "attempts": ("Transactions signed for open nonces.", lambda s: s.attempts),
        "bumps": ("Those signed to replace another.", lambda s: s.bumps),
        "waiting": ("Commands waiting for a nonce.", lambda s: s.waiting),
        "oldest_waiting_seconds": (
            "Age of the oldest waiting command.", lambda s: s.oldest_waiting_seconds,
        ),
        "held": ("Commands held until somebody acts.", lambda s: s.held),
        "paused": ("1 while it takes no nonces.", lambda s: int(s.paused)),
    }  # fmt: skip
    for name, (help_, value_of) in gauges.items():
        gauge = GaugeMetricFamily(f"chainfold_signer_{name}", help_, labels=["signer"])
        for each in found:
            gauge.add_metric([each.name], value_of(each))
        yield gauge


def _gauge(name: str, help_: str, value: float) -> Metric:
    gauge = GaugeMetricFamily(name, help_)
    gauge.add_metric([], value)
    return gauge
