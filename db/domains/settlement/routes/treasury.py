"""The treasury of settlement: as JSON, as a page of the console, and as metrics."""

import time
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from api.auth.principal import current_principal, require_role
from api.auth.routes import shape
from api.collectors import DatabaseCollector
from api.command_problems import as_problems
from api.errors import Problem
from api.json_answers import json_answer
from api.service import Service
from api.writes import require_command_service
from commands.errors import NodeAway
from commands.lane import ChainRequired, Lane, NoContract, NoSigner
from commands.solana.lane import SolanaLane
from db import reads
from db.declare import STAFF, RowOf
from db.declare.reports import ReportPage
from db.domains.settlement import treasury
from db.domains.settlement.charges import debts_as_json, owed
from db.domains.settlement.commands import SettlePurchase
from db.domains.settlement.projections import (
    AccountDay,
    Debt,
    PaidDay,
    SettledDay,
    TreasuryWeek,
)
from db.domains.settlement.reports import TreasuryRows, treasury_report
from db.domains.settlement.routes.described import CENTS, MICRO, PURCHASE
from db.domains.settlement.settings import LEVELS, SettlementSettings
from db.domains.settlement.treasury import UNKNOWN, TreasuryState
from db.journal.head import SOURCE
from db.reads.tables import ReadTables

HEALTH = (*LEVELS, UNKNOWN)
BALANCE_SECONDS = 30.0  # between two questions of the metrics to a node
DEBTS = shape(
    number=CENTS, owed=CENTS,
    payments={
        "type": "array",
        "items": shape(
            purchase=PURCHASE, charge={"type": "string"}, owed=CENTS,
            owed_for={"type": "object", "additionalProperties": CENTS},
        ),
    },
)  # fmt: skip
TREASURY = shape(
    data=shape(
        chain={"type": "string"}, purchases=CENTS, fronted=MICRO, earned=MICRO,
        outflow=MICRO, balance={"type": ["string", "null"]},
        daily_outflow=MICRO, runway_days={"type": ["number", "null"]},
        health={"enum": list(HEALTH)}, debts=DEBTS,
    )
)  # fmt: skip


class Treasury:
    """The treasury, with what is needed to read it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def show(self) -> Response:
        """Tell what the treasury fronted and earned, and for how long it lasts.

        Amounts are in micro-USDC. Runway is the balance by what left on an average day
        of the last seven. `debts` are payments that were settled and whose money went
        back, in cents, the greatest hundred by name.
        """
        principal = current_principal(self._service)
        require_role(principal, *STAFF)
        lane = self._lane(request.args.get("chain"))
        found = self._state(lane, self._settled(lane))
        debts = debts_as_json(self._debts())
        return json_answer(
            {"data": {"chain": lane.name, **found.as_json(), "debts": debts}}
        )

    def report(self) -> ReportPage:
        """Return the page of the treasury in the console."""
        lane = self._lane(None)
        settled = self._settled(lane)
        account = (
            lane.places.accounts.get("treasury")
            if isinstance(lane, SolanaLane)
            else None
        )
        balances = (
            []
            if account is None
            else self._of_chain(lane, lambda t: t.rows(AccountDay, account=account))
        )
        return treasury_report(
            TreasuryRows(
                state=self._state(lane, settled),
                settled=settled,
                paid=self._journal(lambda t: t.rows(PaidDay)),
                balances=balances,
                weeks=self._journal(lambda t: t.rows(TreasuryWeek)),
                debts=self._debts(),
                today=_today(),
            )
        )

    def read(self) -> tuple[TreasuryState, int, int] | None:
        """Return the state, and the number and sum of debts in cents; None without."""
        commands = self._service.command_service
        if commands is None:
            return None
        try:
            lane = commands.lane_for(SettlePurchase.spec)
        except (NoSigner, ChainRequired):
            return None
        debts = [owed(each) for each in self._debts()]
        return self._state(lane, self._settled(lane)), len(debts), sum(debts)

    def _lane(self, chain: str | None) -> Lane:
        """Return the lane of the treasury's signer."""
        commands = require_command_service(self._service)
        with as_problems():
            try:
                return commands.lane_for(SettlePurchase.spec, chain)
            except NoSigner as error:
                raise Problem(
                    "no_such_row", f"There is no treasury: {error}."
                ) from None

    def _state(self, lane: Lane, settled: list[RowOf]) -> TreasuryState:
        settings = self._service.registry.settings_of(SettlementSettings)
        return treasury.state(settled, _today(), _balance(lane), settings)

    def _settled(self, lane: Lane) -> list[RowOf]:
        found: list[RowOf] = self._of_chain(lane, lambda t: t.rows(SettledDay))
        return found

    def _of_chain(self, lane: Lane, ask: Any) -> Any:
        return reads.read(
            self._service.engine,
            lambda c: ask(ReadTables(c, lane.source, plan=lane.plan)),
        )

    def _debts(self) -> list[RowOf]:
        found: list[RowOf] = self._journal(lambda t: t.rows(Debt, stage="debt"))
        return [row for row in found if owed(row)]

    def _journal(self, ask: Any) -> Any:
        return reads.read(self._service.engine, lambda c: ask(ReadTables(c, SOURCE)))


class TreasuryCollector(DatabaseCollector):
    """The metrics of the treasury; the node is asked twice a minute at most."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._treasury = Treasury(service)
        self._asked_at = -BALANCE_SECONDS
        self._found: tuple[TreasuryState, int, int] | None = None

    def read(self) -> Iterator[Metric]:
        """Yield the metrics of the state; none where there is no treasury."""
        if time.monotonic() - self._asked_at >= BALANCE_SECONDS:
            self._found = self._treasury.read()
            self._asked_at = time.monotonic()
        if self._found is not None:
            yield from self.metrics(*self._found)

    def metrics(
        self, state: TreasuryState, debts: int, owed_cents: int
    ) -> Iterator[Metric]:
        """Yield the metrics of a state; what is not known has no value."""
        balance = None if state.balance is None else state.balance / treasury.MICRO
        for name, meaning, value in (
            ("balance_usdc", "What the treasury holds, by the chain.", balance),
            ("runway_days", "Days that it lasts; none without outflow.",
             state.runway_days),
            ("outflow_usdc", "What left it in seven days.",
             state.outflow / treasury.MICRO),
            ("purchases", "Purchases settled in seven days.", state.purchases),
            ("debts", "Payments settled whose money went back.", debts),
            ("owed_cents", "The sum of these debts, in cents.", owed_cents),
        ):  # fmt: skip
            gauge = GaugeMetricFamily(f"chainfold_treasury_{name}", meaning)
            if value is not None:
                gauge.add_metric([], value)
            yield gauge
        health = GaugeMetricFamily(
            "chainfold_treasury_health", "1 for the level it is at.", labels=["level"]
        )
        for level in HEALTH:
            health.add_metric([level], int(level == state.health))
        yield health


def _today() -> int:
    """Return the beginning of the current day (UTC), in seconds since 1970."""
    return int(time.time()) // treasury.DAY_SECONDS * treasury.DAY_SECONDS


def _balance(lane: Lane) -> int | None:
    """Return what the treasury holds, in micro-USDC; None while no node tells."""
    try:
        return lane.token_balance("treasury") if isinstance(lane, SolanaLane) else None
    except (NodeAway, NoContract):
        return None
