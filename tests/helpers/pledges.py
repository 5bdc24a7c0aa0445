"""A business whose values have every meaning, and what a hostile contract says."""

from db.declare import (
    Bytes32,
    Code,
    Contract,
    Duration,
    Event,
    First,
    Key,
    Latest,
    Money,
    Projection,
    Replay,
    Share,
    Sum,
    Text,
    Time,
    Uint,
    Url,
)
from db.facts import Fact
from db.position import position
from db.registry import Registry
from helpers.history import History
from helpers.ledger import abi_event

ETB = Money(18, "ETB")
HOSTILE = 2**256 - 1

fund = Contract(
    "Fund",
    abi=[
        abi_event(
            "Pledged", pledge="uint256", amount="uint256", fee="uint16",
            opens="uint256", runs="uint256", method="bytes32", page="string",
        )
    ],
)  # fmt: skip


class Pledged(Event):
    """Somebody pledged."""

    source = fund
    pledge = Uint()
    amount = Uint(meaning=ETB)
    fee = Uint(16, meaning=Share(10_000))
    opens = Uint(meaning=Time())
    runs = Uint(meaning=Duration())
    method = Bytes32(meaning=Code())
    page = Text(meaning=Url())


def last_said(state, fact):
    """The fact itself, with its values as they are stored."""
    return {"amount": fact.amount, "method": fact.method, "opens": fact.opens}


class Pledge(Projection):
    """One row per pledge, with every meaning as a fold and computed."""

    pledge = Key()

    amount = First(Pledged.amount)
    total = Sum(Pledged.amount, -Pledged.amount, Pledged.amount)
    fee = Latest(Pledged.fee)
    opens = First(Pledged.opens)
    runs = First(Pledged.runs)
    method = Latest(Pledged.method)
    page = First(Pledged.page)
    said = Replay(last_said, Pledged)
    index = ("amount", "fee", "opens", "runs", "method", "total")

    closes = opens + runs
    earlier = opens - runs * 2
    owed = total * -2
    part = total * fee // 10_000


class Method(Projection):
    """One row per way to pay: a key with a meaning."""

    method = Key()

    raised = Sum(Pledged.amount)
    index = ("raised",)


REGISTRY = Registry.of([Pledged], [Pledge, Method])


def pledged(number, **values):
    """One pledge, each in a block of its own."""
    said = {
        "pledge": number, "amount": 5000 * 10**18, "fee": 300, "opens": 1_769_860_800,
        "runs": 90 * 86_400, "method": code("telebirr"), "page": "ipfs://a/1",
    }  # fmt: skip
    return said | values


def code(text):
    return text.encode().ljust(32, b"\0")


def history_of(*facts):
    """A chain with one of the facts in each block, from block 1 on."""
    found = History.of(11, 0)
    found.salts = list(range(len(facts) + 1))
    found.facts = {
        height: [_fact(height, values)] for height, values in enumerate(facts, 1)
    }
    return found


def _fact(height, values):
    place, time = position(height, 0), 1_700_000_000 + 2 * height
    return Fact(Pledged, place, time, height.to_bytes(32), values)


HOSTILE_FACTS = [
    pledged(1, opens=2**64 - 1, runs=2**64 - 1),
    pledged(2, amount=HOSTILE, opens=HOSTILE, runs=HOSTILE, fee=65_535),
    pledged(3, method=b"\xff" * 32), pledged(4, method=bytes(32)),
    pledged(5, method=b"a\0b".ljust(32, b"\0")), pledged(6, method=code("0x12")),
    pledged(7, page="javascript:alert(1)"), pledged(8, page="\ufffd not a url"),
    pledged(9, amount=1), pledged(10, opens=253_402_300_800, runs=2**31 * 86_400),
    pledged(11, opens=9_224_318_016_000), pledged(12, method=b" ~".ljust(32, b"\0")),
    pledged(13, amount=0, opens=0, runs=0, fee=0), pledged(14, runs=93_784),
]  # fmt: skip
