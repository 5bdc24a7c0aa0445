"""The page of the treasury: its figures, charts and weeks, from rows that were read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from db.declare import RowOf
from db.declare.reports import Chart, Figure, Form, ReportPage, ReportTable, Tone
from db.domains.settlement.charges import CURRENCY, owed
from db.domains.settlement.treasury import (
    DAY_SECONDS,
    MICRO,
    WINDOW_DAYS,
    AccountHeld,
    TreasuryState,
)
from db.payments.currencies import shown

DAYS = 28  # of the charts by day
WEEKS = 8
DEBTS = 20  # that are shown
WEEK_SECONDS = 7 * DAY_SECONDS
MONDAY = 4 * DAY_SECONDS  # the first Monday after 1970-01-01, which was a Thursday
TARGET_RATE = 0.95
TONES = {
    "healthy": Tone.GOOD, "warning": Tone.OPEN, "critical": Tone.BAD,
    "unknown": Tone.OPEN,
}  # fmt: skip
UNFOLLOWED = (
    "The history of the balance is not indexed: name every token account of the "
    "treasury in [chains.<name>.tokens] of the settings."
)


@dataclass(frozen=True, slots=True)
class TreasuryRows:
    """The rows that the page is made from.

    `settled` are rows of `SettledDay`, `paid` of `PaidDay`, `balances` of `AccountDay`
    for each of `accounts`, in their order, `weeks` of `TreasuryWeek`, and `debts` the
    debts among those of `Debt`. `today` is the beginning of the current day, in seconds
    since 1970.
    """

    state: TreasuryState
    accounts: Sequence[AccountHeld]
    settled: Sequence[RowOf]
    paid: Sequence[RowOf]
    balances: Sequence[Sequence[RowOf]]
    weeks: Sequence[RowOf]
    debts: Sequence[RowOf]
    today: int


def treasury_report(rows: TreasuryRows) -> ReportPage:
    """Return the page of the treasury."""
    return ReportPage(
        "Treasury",
        figures=_figures(rows),
        charts=_charts(rows),
        tables=[_accounts(rows.accounts), _weeks(rows.weeks), *_debts(rows.debts)],
        notes=[] if _is_followed(rows) else [UNFOLLOWED],
    )


def _figures(rows: TreasuryRows) -> list[Figure]:
    state = rows.state
    balance = _or_none(state.balance)
    runway = state.runway_days
    return [
        Figure("health", state.health, TONES[state.health], _reason(state)),
        Figure("balance", balance, note="as the chain says now"),
        Figure("posted", _or_none(state.posted), note="by indexed movements"),
        Figure("pending", usdc(state.pending), note="of settlements under way"),
        _available(state),
        Figure("runway", "no outflow" if runway is None else f"{runway:g} days"),
        Figure("outflow of 7 days", usdc(state.outflow), note="paid to creators"),
        Figure("net to replenish", usdc(state.net_to_replenish)),
        Figure("fronted in 7 days", usdc(state.fronted), note="fee included"),
        Figure("earned in 7 days", usdc(state.earned)),
        Figure("purchases in 7 days", str(state.purchases)),
        _success(rows),
        _owed(rows.debts),
    ]


def _or_none(amount: int | None) -> str:
    return "not told" if amount is None else usdc(amount)


def _available(state: TreasuryState) -> Figure:
    """Return what is left for other settlements, or what is missing for these."""
    if state.available is not None and state.available < 0:
        return Figure("missing", usdc(-state.available), Tone.BAD, "payments wait")
    return Figure("available", _or_none(state.available), note="balance less pending")


def _reason(state: TreasuryState) -> str:
    if state.balance is None:
        return "no node told the balance"
    return "; ".join(said for _, said in state.reasons)


def _success(rows: TreasuryRows) -> Figure:
    """The share of the payments of the last seven days that were settled in them."""
    first = rows.today - (WINDOW_DAYS - 1) * DAY_SECONDS
    payments = sum(row.payments for row in rows.paid if row.day >= first)
    settled = sum(row.purchases for row in rows.settled if row.day >= first)
    if not payments:
        return Figure("settled of paid", "no payments")
    share = min(settled / payments, 1.0)
    tone = Tone.GOOD if share > TARGET_RATE else Tone.OPEN
    return Figure("settled of paid", f"{share:.1%}", tone, f"of {payments} in 7 days")


def _charts(rows: TreasuryRows) -> list[Chart]:
    if not _is_followed(rows):
        return [_by_week(rows)]
    days = [rows.today - back * DAY_SECONDS for back in range(DAYS - 1, -1, -1)]
    labels = [_date(day) for day in days]
    held = _summed([_held(each, days) for each in rows.balances])
    outflow = {row.day: row.fronted - row.earned - row.dust for row in rows.settled}
    lasts = [_runway(each, outflow, day) for each, day in zip(held, days, strict=True)]
    charts = [
        Chart(
            "Balance at the end of the day", "USDC", labels,
            {"balance": [None if each is None else each / MICRO for each in held]},
            limit=rows.state.settings.low_balance_usdc,
        ),
        Chart(
            "Runway", "days", labels, {"runway": lasts},
            limit=rows.state.settings.low_runway_days,
        ),
    ]  # fmt: skip
    return [*charts, _by_week(rows)]


def _is_followed(rows: TreasuryRows) -> bool:
    """Whether movements of every account are indexed."""
    return bool(rows.balances) and all(rows.balances)


def _summed(accounts: Sequence[Sequence[int | None]]) -> list[int | None]:
    """The sum of the balances at the end of each day, as far as they are known."""
    found: list[int | None] = []
    for day in zip(*accounts, strict=True):
        known = [held for held in day if held is not None]
        found.append(sum(known) if known else None)
    return found


def _held(rows: Sequence[RowOf], days: Sequence[int]) -> list[int | None]:
    """The balance at the end of each day; None before the first that is known."""
    known = {row.day: row.balance for row in rows}
    before = [day for day in known if day < days[0]]
    held = known[max(before)] if before else None
    found = []
    for day in days:
        held = known.get(day, held)
        found.append(held)
    return found


def _runway(held: int | None, outflow: dict[int, int], day: int) -> float | None:
    """Return how long a balance lasts at the outflow of the seven days up to a day."""
    spent = sum(outflow.get(day - back * DAY_SECONDS, 0) for back in range(WINDOW_DAYS))
    if held is None or not spent:
        return None
    return round(held * WINDOW_DAYS / spent, 2)


def _by_week(rows: TreasuryRows) -> Chart:
    """Return what was fronted, earned and paid out, by weeks from Monday (UTC)."""
    last = _monday(rows.today)
    weeks = [last - back * WEEK_SECONDS for back in range(WEEKS - 1, -1, -1)]
    sums = {week: [0, 0, 0] for week in weeks}
    for row in rows.settled:
        found = sums.get(_monday(row.day))
        if found is not None:
            found[0] += row.fronted
            found[1] += row.earned
            found[2] += row.fronted - row.earned - row.dust
    names = ("fronted", "earned", "outflow")
    return Chart(
        "By week", "USDC", [_date(week) for week in weeks],
        {
            name: [sums[week][place] / MICRO for week in weeks]
            for place, name in enumerate(names)
        },
        Form.BARS,
    )  # fmt: skip


def _accounts(held: Sequence[AccountHeld]) -> ReportTable:
    return ReportTable(
        "Accounts",
        ("account", "balance"),
        [
            (
                each.account,
                "not told" if each.balance is None else usdc(each.balance),
            )
            for each in held
        ],
    )


def _weeks(rows: Sequence[RowOf]) -> ReportTable:
    latest = sorted(rows, key=lambda row: row.week_start, reverse=True)[:WEEKS]
    return ReportTable(
        "Weekly reviews",
        ("from", "to", "purchases", "fronted", "earned", "to replenish", "status",
         "note"),
        [
            (
                _date(row.week_start), _date(row.week_end - DAY_SECONDS),
                str(row.purchases), usdc(row.fronted), usdc(row.earned),
                usdc(row.replenish), row.status, row.note or "",
            )
            for row in latest
        ],
    )  # fmt: skip


def _owed(debts: Sequence[RowOf]) -> Figure:
    """Return what was settled for payments whose money went back."""
    cents = sum(owed(each) for each in debts)
    tone = Tone.BAD if cents else Tone.GOOD
    return Figure("owed", shown(cents, CURRENCY), tone, f"{len(debts)} payments")


def _debts(debts: Sequence[RowOf]) -> list[ReportTable]:
    """The greatest debts, if there are any."""
    greatest = sorted(debts, key=owed, reverse=True)[:DEBTS]
    if not greatest:
        return []
    columns = ("purchase", "payment", "owed", "for")
    rows = [
        (
            each.purchase, each.charge, shown(owed(each), CURRENCY),
            ", ".join(sorted(each.owed_for or {})),
        )
        for each in greatest
    ]  # fmt: skip
    return [ReportTable("Settled, and the money went back", columns, rows)]


def usdc(micro: int) -> str:
    """Return an amount of micro-USDC as people write it."""
    sign, amount = "-" if micro < 0 else "", abs(micro)
    return f"{sign}{amount // MICRO:,}.{amount % MICRO:06d} USDC"


def _monday(moment: int) -> int:
    return moment - (moment - MONDAY) % WEEK_SECONDS


def _date(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
