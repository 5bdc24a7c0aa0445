"""The treasury of settlement: as JSON, as a page of the console, and as metrics."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from commands.lane import ChainRequired, Lane, NoContract, NoSigner
from commands.solana.lane import SolanaLane
from db import reads
from db.commands.listing import open_arguments
from db.declare import STAFF, RowOf
from db.declare.reports import ReportPage
from db.domains.settlement import money, treasury
from db.domains.settlement.charges import debts_as_json, owed
from db.domains.settlement.commands import SettlePurchase
from db.domains.settlement.projections import (
    AccountDay,
    Debt,
    PaidDay,
    ProgramConfig,
    SettledDay,
    TreasuryWeek,
)
from db.domains.settlement.reports import TreasuryRows, treasury_report
from db.domains.settlement.routes.described import CENTS, MICRO, PURCHASE
from db.domains.settlement.settings import LEVELS, SettlementSettings
from db.domains.settlement.treasury import UNKNOWN, AccountHeld, TreasuryState
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
_KNOWN = {"type": ["string", "null"]}
TREASURY = shape(
    data=shape(
        chain={"type": "string"}, purchases=CENTS, fronted=MICRO, earned=MICRO,
        outflow=MICRO, balance=_KNOWN, posted=_KNOWN, pending=MICRO, available=_KNOWN,
        accounts={
            "type": "array",
            "items": shape(
                account={"type": "string"}, balance=_KNOWN
            ),
        },
        daily_outflow=MICRO, runway_days={"type": ["number", "null"]},
        health={"enum": list(HEALTH)}, debts=DEBTS,
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TreasuryFigures:
    """The treasury as its metrics tell of it; debts by number, and in cents."""

    state: TreasuryState
    accounts: Sequence[AccountHeld] = ()
    debts: int = 0
    owed_cents: int = 0


class Treasury:
    """The treasury, with what is needed to read it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def show(self) -> Response:
        """Tell what the treasury fronted and earned, and for how long it lasts.

        Amounts are in micro-USDC. `balance` is that of all `accounts` that a node told
        of, `posted` what their indexed movements come to, `pending` what settlements
        that are under way will take, `available` the balance without that. Runway is
        the balance by what left on an average day of the last seven. `debts` are
        payments that were settled and whose money went back, in cents, the greatest
        hundred by name.
        """
        principal = current_principal(self._service)
        require_role(principal, *STAFF)
        lane = self._lane(request.args.get("chain"))
        held = _held(lane)
        found = self._state(lane, self._settled(lane), held)
        accounts = [each.as_json() for each in held]
        debts = debts_as_json(self._debts())
        said = {"chain": lane.name, **found.as_json(), "accounts": accounts}
        return json_answer({"data": {**said, "debts": debts}})

    def report(self) -> ReportPage:
        """Return the page of the treasury in the console."""
        lane = self._lane(None)
        settled, held = self._settled(lane), _held(lane)
        return treasury_report(
            TreasuryRows(
                state=self._state(lane, settled, held),
                accounts=held,
                settled=settled,
                paid=self._journal(lambda t: t.rows(PaidDay)),
                balances=[self._days_of(lane, each) for each in held],
                weeks=self._journal(lambda t: t.rows(TreasuryWeek)),
                debts=self._debts(),
                today=_today(),
            )
        )

    def read(self) -> TreasuryFigures | None:
        """Return what the metrics tell; None where there is no treasury."""
        commands = self._service.command_service
        if commands is None:
            return None
        try:
            lane = commands.lane_for(SettlePurchase.spec)
        except (NoSigner, ChainRequired):
            return None
        held = _held(lane)
        debts = [owed(each) for each in self._debts()]
        state = self._state(lane, self._settled(lane), held)
        return TreasuryFigures(state, held, len(debts), sum(debts))

    def _days_of(self, lane: Lane, of: AccountHeld) -> list[RowOf]:
        found: list[RowOf] = self._of_chain(
            lane, lambda t: t.rows(AccountDay, account=of.key)
        )
        return found

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

    def _state(
        self, lane: Lane, settled: list[RowOf], held: Sequence[AccountHeld]
    ) -> TreasuryState:
        days = [day for each in held for day in self._days_of(lane, each)[-1:]]
        open_ = reads.read(
            self._service.engine,
            lambda c: open_arguments(c, SettlePurchase.spec.slug, lane.source),
        )
        return treasury.state(
            settled, _today(), treasury.balance_of(held),
            self._service.registry.settings_of(SettlementSettings),
            posted=sum(day.balance for day in days) if days else None,
            pending=treasury.pending_outflow(open_, self._fee_points(lane)),
        )  # fmt: skip

    def _fee_points(self, lane: Lane) -> int:
        """Return the platform's basis points: as indexed, else as they usually are."""
        usdc = _addresses(lane, "usdc")
        row = usdc and self._of_chain(
            lane, lambda t: t.row(ProgramConfig, usdc_mint=usdc[0])
        )
        return row.fee_points if row else money.FEE_POINTS

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
        self._found: TreasuryFigures | None = None

    def read(self) -> Iterator[Metric]:
        """Yield the metrics of the state; none where there is no treasury."""
        if time.monotonic() - self._asked_at >= BALANCE_SECONDS:
            self._found = self._treasury.read()
            self._asked_at = time.monotonic()
        if self._found is not None:
            yield from self.metrics(self._found)

    def metrics(self, found: TreasuryFigures) -> Iterator[Metric]:
        """Yield the metrics of the treasury; what is not known has no value."""
        state = found.state
        balance = None if state.balance is None else state.balance / treasury.MICRO
        for name, meaning, value in (
            ("balance_usdc", "What the treasury holds, by the chain.", balance),
            ("pending_usdc", "What settlements under way will take.",
             state.pending / treasury.MICRO),
            ("runway_days", "Days that it lasts; none without outflow.",
             state.runway_days),
            ("outflow_usdc", "What left it in seven days.",
             state.outflow / treasury.MICRO),
            ("purchases", "Purchases settled in seven days.", state.purchases),
            ("debts", "Payments settled whose money went back.", found.debts),
            ("owed_cents", "The sum of these debts, in cents.", found.owed_cents),
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
        accounts = GaugeMetricFamily(
            "chainfold_treasury_account_balance_usdc",
            "What one of its accounts holds, by the chain.",
            labels=["account"],
        )
        for each in found.accounts:
            if each.balance is not None:
                accounts.add_metric([each.account], each.balance / treasury.MICRO)
        yield accounts


def _today() -> int:
    """Return the beginning of the current day (UTC), in seconds since 1970."""
    return int(time.time()) // treasury.DAY_SECONDS * treasury.DAY_SECONDS


def _addresses(lane: Lane, name: str) -> Sequence[bytes]:
    """Return the accounts of a name in the chain's settings; none where it has none."""
    try:
        return lane.places.all_of(name) if isinstance(lane, SolanaLane) else ()
    except NoContract:
        return ()


def _held(lane: Lane) -> list[AccountHeld]:
    """Return what each account of the treasury holds, as nodes tell it now."""
    try:
        found = lane.token_balances("treasury") if isinstance(lane, SolanaLane) else []
    except NoContract:
        return []
    return [AccountHeld(key, balance) for key, balance in found]
