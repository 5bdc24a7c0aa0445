"""The treasury: what it fronted, what it earned, and how long its balance lasts.

All amounts are in micro-USDC. What is *fronted* is all that was split, the platform's
fee included; that fee and the dust never leave the treasury, so what left it, and what
runway goes by, is the *outflow*: the sum of the payouts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.declare import RowOf
from db.declare.fields import Encoding
from db.domains.settlement import money
from db.domains.settlement.settings import LEVELS, SettlementSettings

DAY_SECONDS = 86_400
WINDOW_DAYS = 7
MICRO = 10**6  # of a USDC
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AccountHeld:
    """A token account of the treasury, and its micro-USDC; None: no node told."""

    key: bytes
    balance: int | None

    @property
    def account(self) -> str:
        """Return its address in base58."""
        return Encoding.BASE58.text(self.key)

    def as_json(self) -> dict[str, Any]:
        """The account as the API answers it."""
        balance = None if self.balance is None else str(self.balance)
        return {"account": self.account, "balance": balance}


def balance_of(held: Sequence[AccountHeld]) -> int | None:
    """Return the sum of the balances that are known; None when none is."""
    known = [each.balance for each in held if each.balance is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class TreasuryState:
    """The treasury over the last seven days; `balance` is None when nobody told it.

    `balance` is what the chain says now, `posted` what the indexed movements of its
    accounts come to (None where they are not followed), and `pending` what settlements
    will take that were asked for and have not ended. `runway_days` is None while
    nothing leaves the treasury.
    """

    purchases: int
    fronted: int
    earned: int
    outflow: int
    balance: int | None
    settings: SettlementSettings
    posted: int | None = None
    pending: int = 0

    @property
    def available(self) -> int | None:
        """Return what is left for other settlements; below zero: what is missing."""
        return None if self.balance is None else self.balance - self.pending

    @property
    def daily_outflow(self) -> int:
        """Return the outflow of an average day, rounded down."""
        return self.outflow // WINDOW_DAYS

    @property
    def runway_days(self) -> float | None:
        """Return for how many days the balance lasts at that rate."""
        if self.balance is None or not self.outflow:
            return None
        return round(self.balance * WINDOW_DAYS / self.outflow, 2)

    @property
    def net_to_replenish(self) -> int:
        """Return what has to come from the card payments: the outflow."""
        return self.outflow

    @property
    def health(self) -> str:
        """Return one of `LEVELS`, the worst of what is so, or `UNKNOWN`."""
        if self.balance is None:
            return UNKNOWN
        found = [level for level, _ in self.reasons]
        return max(found, key=LEVELS.index, default=LEVELS[0])

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Return what ails the treasury: the level that it means, and a sentence."""
        found: list[tuple[str, str]] = []
        if self.balance is None:
            return found
        low, days = self.settings.low_balance_usdc, self.settings.low_runway_days
        if self.balance < low * MICRO:
            said = f"the balance is below {low:,} USDC"
            found.append((self.settings.low_balance_level, said))
        if self.balance * WINDOW_DAYS < days * self.outflow:
            said = f"the runway is below {days:g} days"
            found.append((self.settings.low_runway_level, said))
        return found

    def as_json(self) -> dict[str, Any]:
        """The state as the API answers it."""
        return {
            "purchases": self.purchases,
            "fronted": str(self.fronted),
            "earned": str(self.earned),
            "outflow": str(self.outflow),
            "balance": _text(self.balance),
            "posted": _text(self.posted),
            "pending": str(self.pending),
            "available": _text(self.available),
            "daily_outflow": str(self.daily_outflow),
            "runway_days": self.runway_days,
            "health": self.health,
        }


def pending_outflow(
    settlements: Iterable[Mapping[str, Any]], fee_points: int = money.FEE_POINTS
) -> int:
    """Return what settlements will take, from the arguments of their commands.

    `fee_points` are the platform's, as its program is configured.
    """
    found = 0
    for each in settlements:
        shares = each["shares"]
        _, parts, _ = money.split(int(each["distributable"]), shares, fee_points)
        found += sum(parts)
    return found


def state(
    days: Sequence[RowOf],
    last: int,
    balance: int | None,
    settings: SettlementSettings,
    *,
    posted: int | None = None,
    pending: int = 0,
) -> TreasuryState:
    """Return the state from the rows of `SettledDay`, seven days up to the last one.

    `last` is the beginning of a day, in seconds since 1970.
    """
    first = last - (WINDOW_DAYS - 1) * DAY_SECONDS
    recent = [row for row in days if first <= row.day <= last]
    fronted = sum(row.fronted for row in recent)
    earned = sum(row.earned for row in recent)
    dust = sum(row.dust for row in recent)
    return TreasuryState(
        purchases=sum(row.purchases for row in recent),
        fronted=fronted,
        earned=earned,
        outflow=fronted - earned - dust,
        balance=balance,
        settings=settings,
        posted=posted,
        pending=pending,
    )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
