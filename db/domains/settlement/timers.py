"""Timers of settlement: new buyers wait, and the treasury is reviewed every week."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from db.declare import Entry, Tables, due, schedule
from db.domains.settlement import entries, treasury
from db.domains.settlement.projections import PurchaseCharge, SettledDay
from db.domains.settlement.settings import SettlementSettings


@due(rows=PurchaseCharge, at="wait_until", clock="wall", when={"waits": ("waiting",)})
def end_wait(charge: Any, tables: Tables) -> Iterator[Entry]:
    """The payment of a new buyer has waited for as long as it was to."""
    yield entries.PurchaseWaitOver(purchase=charge.purchase, charge=charge.charge)


@schedule("0 9 * * MON", zone=SettlementSettings.review_zone, missed="each")
def review_treasury(at: datetime, tables: Tables) -> Iterator[Entry]:
    """The seven days before a Monday are summed up, and what is to be replenished.

    Where the program is followed on several chains their tables are not at hand, and
    nothing is reviewed; `GET /admin/treasury` tells.
    """
    today = int(at.timestamp()) // treasury.DAY_SECONDS * treasury.DAY_SECONDS
    last = today - treasury.DAY_SECONDS
    rows: list[Any] = tables.rows(SettledDay)
    if not rows:
        return
    settings = tables.settings(SettlementSettings)
    found = treasury.state(rows, last, None, settings)
    yield entries.TreasuryReviewed(
        week_start=last - (treasury.WINDOW_DAYS - 1) * treasury.DAY_SECONDS,
        week_end=today,
        purchases=found.purchases,
        fronted=found.fronted,
        earned=found.earned,
        replenish=found.net_to_replenish,
    )
