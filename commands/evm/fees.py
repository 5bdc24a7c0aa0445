"""Gas prices to offer: the node's suggestion, raised when it asks for more."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands.evm.node import Node
from db.commands.evm.attempts import AttemptRow

GAS_MARGIN_PERCENT = 20


@dataclass(frozen=True, slots=True)
class Fees:
    """A price in wei for a unit of gas; `priority` None: a legacy transaction."""

    gas_price: int
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bounds of the price, in wei, and how much a replacement adds to it.

    A replacement pays at most `most_times` what the node suggests.
    """

    lowest: int
    highest: int
    bump_percent: int
    dynamic: bool = False
    most_times: float = 2.0

    def asked(self, wanted: Fees) -> int:
        """The price that the node suggests, of what is wanted for it."""
        return wanted.gas_price // 2 if self.dynamic else wanted.gas_price


def suggested(node: Node, ceiling: Ceiling) -> Fees:
    """Return the node's price. With EIP-1559 twice its price is the most that is paid.

    Twice, because the base fee may rise by an eighth with every block: it takes six
    full blocks to pass it, and what is not needed is not paid.
    """
    price = max(node.gas_price(), ceiling.lowest)
    if not ceiling.dynamic:
        return Fees(price)
    return Fees(2 * price, node.priority_fee())


def asks_more(wanted: Fees, attempts: Sequence[AttemptRow], ceiling: Ceiling) -> bool:
    """Whether the node suggests more than was ever offered."""
    if ceiling.asked(wanted) > max(each.gas_price for each in attempts):
        return True
    tip = max(each.priority_fee or 0 for each in attempts)
    return wanted.priority is not None and wanted.priority > tip


def offer(
    wanted: Fees,
    attempts: Sequence[AttemptRow],
    ceiling: Ceiling,
    *,
    outbid: bool = False,
) -> Fees | None:
    """The fees to sign with, never above the ceiling; None: no higher bid is allowed.

    A replacement bids more than every attempt before it, by both of its prices, and at
    most `most_times` what the node suggests; one that has to `outbid` another, once,
    may be dearer by the bump.
    """
    before = max((each.gas_price for each in attempts), default=0)
    tip_before = max((each.priority_fee or 0 for each in attempts), default=0)
    price, tip = wanted.gas_price, wanted.priority
    highest = ceiling.highest
    if attempts:
        price = max(price, _raised(before, ceiling.bump_percent))
        if not outbid:
            highest = min(highest, int(wanted.gas_price * ceiling.most_times))
        if tip is not None:
            tip = max(tip, _raised(tip_before, ceiling.bump_percent))
    price = min(price, highest)
    if price <= before:
        return None
    return Fees(price, None if tip is None else min(tip, price))


def with_margin(gas: int) -> int:
    """The gas limit for a call that would use so much now: a fifth more."""
    return gas + gas * GAS_MARGIN_PERCENT // 100


def _raised(price: int, percent: int) -> int:
    return price + price * percent // 100 + 1
