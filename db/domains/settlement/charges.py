"""Card payments of purchases: what of them is still here, and what is owed.

A purchase may have several payments: two sessions that were both paid, or one that was
refunded and then paid anew. What goes back is of one payment, so rows are too.

A debt is a payment that was settled on the chain and whose money went back. Both are
folded from the journal: a reaction to the final event of the chain writes there what
was settled (`entries.ChargeSettled`). So the order in which the two come does not
matter, the table says by itself what is owed, and readers join nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from db.declare import RowOf, Tables
from db.domains.settlement.projections import PurchaseCharge

CURRENCY = "usd"
DEBTS_SHOWN = 100


def payment_hash(charge: str) -> bytes:
    """The name of a payment on the chain."""
    return hashlib.sha256(charge.encode()).digest()


def owed(debt: RowOf) -> int:
    """Return the cents that are owed for a payment: without what was written off."""
    return max(total(debt.owed_for) - int(debt.written_off), 0)


def debts_as_json(debts: Iterable[RowOf]) -> dict[str, Any]:
    """Open debts as the API answers them: how many, their sum, and the greatest."""
    found = sorted(
        (row for row in debts if owed(row)),
        key=lambda row: (-owed(row), row.purchase, row.charge),
    )
    return {
        "number": len(found),
        "owed": sum(map(owed, found)),
        "payments": [
            {
                "purchase": row.purchase,
                "charge": row.charge,
                "owed": owed(row),
                "owed_for": row.owed_for,
            }
            for row in found[:DEBTS_SHOWN]
        ],
    }


def total(gone_for: Mapping[str, int] | None, kind: str = "") -> int:
    """The sum of what stands, or of the refunds or disputes among it."""
    found = (gone_for or {}).items()
    return sum(int(amount) for name, amount in found if name.startswith(kind))


def charges_of(purchase: str, tables: Tables) -> list[RowOf]:
    """The payments of a purchase that were captured, in their order."""
    rows = tables.rows(PurchaseCharge, purchase=purchase)
    found = [each for each in rows if each.captured_in is not None]
    return sorted(found, key=lambda each: (each.captured_in, each.charge))


def is_due(charge: RowOf, purchase: RowOf) -> bool:
    """Whether a payment is of just what the purchase costs."""
    return (charge.amount, charge.currency) == (purchase.total, CURRENCY)


def kept(charge: RowOf) -> int:
    """Return the cents of a payment that are still here."""
    return int(charge.amount) - total(charge.gone_for)


def takes(charge: RowOf, purchase: RowOf) -> bool:
    """Whether a payment stands for its purchase, so that another is one too many.

    So does one that is disputed: the dispute may be won.
    """
    refunds = total(charge.gone_for, "refund")
    is_here = not charge.refunds_asked and refunds < charge.amount
    return is_here and is_due(charge, purchase)


def can_be_settled(charge: RowOf, purchase: RowOf) -> bool:
    """Whether nothing speaks against settling for a payment, or a person let it."""
    if not is_due(charge, purchase) or charge.waits == "waiting":
        return False
    if charge.hold == "released":
        return kept(charge) > 0
    return not (charge.gone_for or charge.warnings or charge.refunds_asked)
