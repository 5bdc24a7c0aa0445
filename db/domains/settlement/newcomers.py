"""New buyers: their payments wait before the step that cannot be undone, by rule.

Whether a payment waits is decided once, by the settings of that moment, and an entry
says so: another value of the setting changes nothing that was decided before.
"""

from datetime import UTC, datetime

from db.declare import RowOf, Tables
from db.domains.settlement.charges import charges_of
from db.domains.settlement.entries import PurchaseWaits
from db.domains.settlement.projections import BuyerPurchase, Purchase
from db.domains.settlement.settings import SettlementSettings

HOUR_SECONDS = 3_600


def wait_of_new_buyer(
    purchase: RowOf, charge: RowOf, tables: Tables
) -> PurchaseWaits | None:
    """Return the entry that lets a payment wait; None if it need not.

    It need not when it has waited, when a person has let it pass, when the time is
    over, and when its buyer is known.
    """
    hours = tables.settings(SettlementSettings).new_buyer_wait_hours
    until = charge.captured_at + hours * HOUR_SECONDS
    decided = charge.waits or charge.hold == "released" or until <= tables.time
    if not hours or decided or is_known(purchase, tables):
        return None
    return PurchaseWaits(
        purchase=purchase.purchase,
        charge=charge.charge,
        until=until,
        reason=f"its buyer is new: {charge.charge} waits for {hours} hours, until "
        f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC. Release the "
        "purchase to settle it before",
    )


def is_known(purchase: RowOf, tables: Tables) -> bool:
    """Whether the buyer's account has another purchase that was settled in peace.

    Of that one a payment was never refunded, disputed or warned of.
    """
    for begun in tables.rows(BuyerPurchase, account=purchase.account):
        if begun.purchase == purchase.purchase:
            continue
        other = tables.row(Purchase, purchase=begun.purchase)
        if other is not None and other.stage == "settled":
            charges = charges_of(begun.purchase, tables)
            if any(not each.alarms for each in charges):
                return True
    return False
