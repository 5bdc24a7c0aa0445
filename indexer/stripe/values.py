"""Values of Stripe's objects, checked: an answer of another shape is an OddAnswer."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from db.payments import DOMAIN, PURCHASE
from indexer.stripe.errors import OddAnswer

Object = Mapping[str, Any]  # Any: JSON as the API has it


def text(item: Object, name: str) -> str:
    """A text; empty when it is null or not there."""
    value = item.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _odd(item, name, "a text")
    return value


def number(item: Object, name: str) -> int:
    """A whole number, which must be there."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _odd(item, name, "a whole number")
    return value


def flag(item: Object, name: str) -> bool:
    """True or false, which must be there."""
    value = item.get(name)
    if not isinstance(value, bool):
        raise _odd(item, name, "true or false")
    return value


def id_of(item: Object, name: str) -> str:
    """The id of another object, whether it is expanded or not; empty for null."""
    value = item.get(name)
    if isinstance(value, Mapping):
        return text(value, "id")
    return text(item, name)


def inner(item: Object, name: str) -> Object | None:
    """An expanded object; None for null."""
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _odd(item, name, "an expanded object")
    return value


def listed(item: Object, name: str) -> list[Object]:
    """A list of objects."""
    value = item.get(name)
    if not isinstance(value, list) or not all(isinstance(e, Mapping) for e in value):
        raise _odd(item, name, "a list of objects")
    return value


@dataclass(frozen=True, slots=True)
class Owner:
    """The domain whose payment something is, and its own name of what is bought.

    Both are empty when the metadata names none.
    """

    domain: str = ""
    purchase: str = ""

    @property
    def values(self) -> dict[str, str]:
        """As the entries have it."""
        return {"domain": self.domain, "purchase": self.purchase}


def owner_of(*items: Object | None) -> Owner:
    """The owner that the first of these objects with one names in its metadata."""
    for item in items:
        metadata = {} if item is None else item.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise _odd(item or {}, "metadata", "an object")
        if metadata.get(DOMAIN):
            return Owner(text(metadata, DOMAIN), text(metadata, PURCHASE))
    return Owner()


@dataclass(frozen=True, slots=True)
class Moved:
    """A balance transaction: how our balance changed, in minor units.

    Without one the id is empty and nothing has moved.
    """

    id: str = ""
    currency: str = ""
    rate: str = ""
    settled: int = 0
    fee: int = 0
    net: int = 0

    @property
    def money(self) -> dict[str, str | int]:
        """The id and the amounts, as the entries have them."""
        return {
            "balance_transaction": self.id, "settled": self.settled, "fee": self.fee,
            "net": self.net,
        }  # fmt: skip

    @property
    def values(self) -> dict[str, str | int]:
        """The same with the currency."""
        return {**self.money, "settlement_currency": self.currency}

    @property
    def converted(self) -> dict[str, str | int]:
        """The same with the rate at which was converted."""
        return {**self.values, "exchange_rate": self.rate}


NOTHING = Moved()


def moved_by(item: Object | None) -> Moved:
    """A balance transaction's change; raises OddAnswer when it does not add up."""
    if item is None:
        return NOTHING
    settled, fee, net = (number(item, name) for name in ("amount", "fee", "net"))
    if settled - fee != net:
        raise _odd(item, "net", "amount less fee")
    rate = item.get("exchange_rate")
    written = "" if rate is None else format(Decimal(str(rate)), "f")
    return Moved(text(item, "id"), text(item, "currency"), written, settled, fee, net)


def _odd(item: Object, name: str, expected: str) -> OddAnswer:
    what = f"{item.get('object', 'object')} {item.get('id', 'without id')}"
    return OddAnswer(
        f"{what}: {name} is not {expected}. Compare it with the API's manual, and tell "
        "who maintains this reader"
    )
