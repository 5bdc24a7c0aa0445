"""The page of the treasury, from rows."""

from types import SimpleNamespace as Row

from db.declare.reports import Tone
from db.domains.settlement.reports import (
    DAYS,
    UNFOLLOWED,
    WEEKS,
    TreasuryRows,
    treasury_report,
    usdc,
)
from db.domains.settlement.settings import SettlementSettings
from db.domains.settlement.treasury import (
    DAY_SECONDS,
    AccountHeld,
    balance_of,
    pending_outflow,
    state,
)

TODAY = 1_795_996_800  # Monday 2026-11-30


def day(back, fronted=0, earned=0, dust=0, purchases=1):
    return Row(day=TODAY - back * DAY_SECONDS, fronted=fronted, earned=earned,
               dust=dust, purchases=purchases)  # fmt: skip


def report(
    settled=(), paid=(), balances=(), weeks=(), debts=(), balance=None, **settings
):
    found = state(list(settled), TODAY, balance, SettlementSettings(**settings))
    held = [AccountHeld(bytes([n]) * 32, balance) for n, _ in enumerate(balances, 1)]
    return treasury_report(
        TreasuryRows(found, held, settled, paid, balances, list(weeks), debts, TODAY)
    )


def figure(page, name):
    [found] = [each for each in page.figures if each.name == name]
    return found


def chart(page, title):
    [found] = [each for each in page.charts if each.title.startswith(title)]
    return found


def test_figures_of_seven_days():
    settled = [day(0, 9_974_000, 997_400, 3), day(6, 2_974_001, 297_400, purchases=2),
               day(7, 5 * 10**9, 10**9)]  # fmt: skip
    paid = [Row(day=TODAY, payments=3), Row(day=TODAY - 7 * DAY_SECONDS, payments=50)]

    page = report(settled, paid, balance=2_400_000_017)

    assert figure(page, "balance").value == "2,400.000017 USDC"
    assert figure(page, "outflow of 7 days").value == "11.653198 USDC"
    assert figure(page, "purchases in 7 days").value == "3"
    assert figure(page, "settled of paid").value == "100.0%"
    assert figure(page, "health").tone is Tone.GOOD


def test_what_is_under_way_is_not_available():
    asked = [{"distributable": "9974001", "shares": [3_333, 6_667]},
             {"distributable": "1", "shares": [10_000]}]  # fmt: skip
    pending = pending_outflow(asked)
    assert pending == (8_976_601 * 3_333) // 10_000 + (8_976_601 * 6_667) // 10_000 + 1
    assert pending_outflow(asked, 0) == 3_324_334 + 6_649_666 + 1
    for balance, name, shown in (
        (pending + 17, "available", "0.000017 USDC"),
        (pending - 17, "missing", "0.000017 USDC"),
        (None, "available", "not told"),
    ):
        found = state([], TODAY, balance, SettlementSettings(), pending=pending)
        page = treasury_report(TreasuryRows(found, [], [], [], [], [], [], TODAY))
        assert figure(page, name).value == shown


def test_health_tells_its_reason():
    low = report([day(0, 10**6)], balance=1_999_999_999)
    short = report([day(1, 9 * 10**9)], balance=3 * 10**9)

    assert figure(low, "health").value == "critical"
    assert figure(low, "health").note == "the balance is below 2,000 USDC"
    assert figure(short, "health").note == "the runway is below 7 days"
    assert figure(report(), "health").note == "no node told the balance"


def test_thresholds_and_levels_are_those_of_the_settings():
    rows = [day(0, 21 * 10**9)]  # three thousand USDC a day

    def health(balance, **settings):
        found = figure(report(rows, balance=balance * 10**6, **settings), "health")
        return found.value, found.note

    assert health(20_999) == ("warning", "the runway is below 7 days")
    assert health(21_000) == ("healthy", "")
    assert health(1_999) == (
        "critical", "the balance is below 2,000 USDC; the runway is below 7 days"
    )  # fmt: skip
    assert health(3_000, low_runway_days=1.0) == ("healthy", "")
    assert health(2_999, low_runway_days=1.5, low_runway_level="critical") == (
        "critical", "the runway is below 1.5 days"
    )  # fmt: skip
    assert health(49_999, low_balance_usdc=50_000, low_balance_level="warning")[0] == (
        "warning"
    )
    page = report(
        rows, balances=[[Row(day=TODAY, balance=10**9)]], low_balance_usdc=7,
        low_runway_days=3.5,
    )  # fmt: skip
    assert chart(page, "Balance").limit == 7
    assert chart(page, "Runway").limit == 3.5


def test_fewer_settled_than_paid_are_shown():
    page = report([day(0, 10**6, purchases=17)], [Row(day=TODAY, payments=20)])

    found = figure(page, "settled of paid")
    assert (found.value, found.tone) == ("85.0%", Tone.OPEN)


def test_the_balance_holds_until_it_moves():
    balances = [
        Row(day=TODAY - 40 * DAY_SECONDS, balance=7_000_000),
        Row(day=TODAY - 20 * DAY_SECONDS, balance=5_500_000),
        Row(day=TODAY - DAY_SECONDS, balance=1_250_000),
    ]
    page = report([day(22, 7_000_000, 1), day(2, 700_000)], balances=[balances])

    held = chart(page, "Balance").series["balance"]
    assert len(held) == DAYS
    assert held[0] == held[DAYS - 22] == 7.0
    assert held[DAYS - 21] == held[DAYS - 3] == 5.5
    assert held[-2:] == [1.25, 1.25]
    runway = chart(page, "Runway").series["runway"]
    assert runway[DAYS - 4] is None  # nothing had left for seven days
    assert runway[-1] == 12.5
    assert page.notes == []


def test_accounts_are_listed_and_summed():
    first = [Row(day=TODAY - 3 * DAY_SECONDS, balance=7_000_000)]
    second = [
        Row(day=TODAY - 2 * DAY_SECONDS, balance=1_000_000),
        Row(day=TODAY, balance=500_000),
    ]

    page = report(balances=[first, second], balance=8)

    held = chart(page, "Balance").series["balance"]
    assert held[-5:] == [None, 7.0, 8.0, 8.0, 7.5]
    assert [each[1] for each in page.tables[0].rows] == ["0.000008 USDC"] * 2
    half = report(balances=[first, []])
    assert half.notes == [UNFOLLOWED]
    assert half.tables[0].rows[0][1] == "not told"


def test_a_balance_that_no_node_tells_counts_for_nothing():
    one, two, lost = (AccountHeld(bytes(32), n) for n in (5, 7, None))

    assert balance_of([one, lost, two]) == 12
    assert balance_of([lost]) is None
    assert balance_of([]) is None


def test_without_movements_the_page_says_how_to_have_them():
    page = report([day(0, 10**6)])

    assert page.notes == [UNFOLLOWED]
    assert [each.title for each in page.charts] == ["By week"]


def test_weeks_begin_on_monday():
    page = report([day(0, 4_000_000, 400_000), day(1, 2_000_000, 200_000, 7),
                   day(7, 1_000_000), day(8, 500_000)])  # fmt: skip

    weeks = chart(page, "By week")
    assert len(weeks.labels) == WEEKS
    assert weeks.labels[-2:] == ["2026-11-23", "2026-11-30"]
    assert weeks.series["fronted"][-3:] == [0.5, 3.0, 4.0]
    assert weeks.series["earned"][-2:] == [0.2, 0.4]
    assert weeks.series["outflow"][-2:] == [2.799993, 3.6]


def test_reviews_latest_first_with_what_people_did():
    week = 7 * DAY_SECONDS
    rows = [
        Row(week_start=TODAY - n * week, week_end=TODAY - (n - 1) * week, purchases=n,
            fronted=n * 10**6, earned=n * 10**5, replenish=n * 9 * 10**5,
            status="pending" if n == 1 else "completed", note=None)
        for n in range(1, 12)
    ]  # fmt: skip

    [_, table] = report(weeks=rows).tables

    assert len(table.rows) == WEEKS
    assert table.rows[0] == (
        "2026-11-23", "2026-11-29", "1", "1.000000 USDC", "0.100000 USDC",
        "0.900000 USDC", "pending", "",
    )  # fmt: skip


def test_debts_are_shown_with_the_greatest_first():
    debts = [
        Row(purchase="0x01", charge="ch_a", owed_for={"refund re_1": 340},
            written_off=0),
        Row(purchase="0x02", charge="ch_b", written_off=0,
            owed_for={"refund re_2": 500, "dispute du_1": 561}),
    ]  # fmt: skip

    page = report(debts=debts)

    found = figure(page, "owed")
    assert (found.value, found.tone) == ("14.01 USD", Tone.BAD)
    assert page.tables[2].rows[0] == (
        "0x02", "ch_b", "10.61 USD", "dispute du_1, refund re_2"
    )  # fmt: skip
    assert figure(report(), "owed").tone is Tone.GOOD
    assert len(report().tables) == 2


def test_amounts_are_whole():
    assert usdc(-1_234_567_890) == "-1,234.567890 USDC"
    assert usdc(5) == "0.000005 USDC"
