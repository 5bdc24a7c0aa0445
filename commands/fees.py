"""What to offer for gas: what the node suggests, more than before, under a ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands.node import Node
from db.commands.attempts import AttemptRow


@dataclass(frozen=True, slots=True)
class Fees:
    """A price in wei for a unit of gas; `priority` None: a legacy transaction."""

    gas_price: int
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bounds of the price, in wei, and how much a replacement adds to it."""

    lowest: int
    highest: int
    bump_percent: int
    dynamic: bool = False


def suggested(node: Node, ceiling: Ceiling) -> Fees:
    """What the node suggests. With EIP-1559 twice its price is the most that is paid.

    Twice, because the base fee may rise by an eighth with every block: it takes six
    full blocks to pass it, and what is not needed is not paid.
    """
    price = max(node.gas_price(), ceiling.lowest)
    if not ceiling.dynamic:
        return Fees(price)
    return Fees(2 * price, node.priority_fee())


def offer(
    wanted: Fees, attempts: Sequence[AttemptRow], ceiling: Ceiling
) -> Fees | None:
    """The fees to sign with, never above the ceiling; None: no higher bid is allowed.

    A replacement bids more than every attempt before it, by both of its prices.
    """
    before = max((each.gas_price for each in attempts), default=0)
    tip_before = max((each.priority_fee or 0 for each in attempts), default=0)
    price, tip = wanted.gas_price, wanted.priority
    if attempts:
        price = max(price, _raised(before, ceiling.bump_percent))
        if tip is not None:
            tip = max(tip, _raised(tip_before, ceiling.bump_percent))
    price = min(price, ceiling.highest)
    if price <= before:
        return None
    return Fees(price, None if tip is None else min(tip, price))


def _raised(price: int, percent: int) -> int:
    return price + price * percent // 100 + 1
