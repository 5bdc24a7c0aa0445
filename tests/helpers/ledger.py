"""A small business that uses every word of the vocabulary, for the property tests."""

from db.declare import (
    Address,
    Average,
    Bool,
    Bucket,
    Contract,
    Count,
    CountDistinct,
    Event,
    First,
    Key,
    Latest,
    Max,
    Min,
    Projection,
    Replay,
    Stage,
    Sum,
    Text,
    Top,
    Uint,
)
from db.registry import Registry


def abi_event(name, /, **inputs):
    """An ABI entry; `indexed_` in front of a type makes it indexed."""
    return {
        "type": "event",
        "name": name,
        "anonymous": False,
        "inputs": [
            {
                "name": key,
                "type": kind.removeprefix("indexed_"),
                "indexed": kind.startswith("indexed_"),
            }
            for key, kind in inputs.items()
        ],
    }


shop = Contract(
    "Shop",
    abi=[
        abi_event("Opened", deal="indexed_address", goal="uint256", title="string"),
        abi_event(
            "Paid",
            deal="indexed_address",
            payer="indexed_address",
            amount="uint256",
            kind="uint8",
        ),
        abi_event("Refunded", deal="indexed_address", payer="address", paid="uint256"),
        abi_event("Closed", deal="indexed_address", good="bool"),
        abi_event("Transfer", sender="address", recipient="address", value="uint256"),
    ],
)


class Opened(Event):
    """A deal began."""

    source = shop
    deal = Address()
    goal = Uint()
    title = Text()


class Paid(Event):
    """Money came in."""

    source = shop
    deal = Address()
    payer = Address()
    amount = Uint()
    kind = Uint(8)


class Refunded(Event):
    """Money went out."""

    source = shop
    deal = Address()
    payer = Address()
    paid = Uint()


class Closed(Event):
    """A deal ended."""

    source = shop
    deal = Address()
    good = Bool()


class Transfer(Event):
    """A token moved."""

    source = shop
    sender = Address()
    recipient = Address()
    value = Uint()


EVENTS = [Opened, Paid, Refunded, Closed, Transfer]


class Deal(Projection):
    """One row per deal, with every mergeable fold."""

    deal = Key()

    title = First(Opened.title)
    renamed = Latest(Opened.title)
    goal = Latest(Opened.goal)
    raised = Sum(Paid.amount)
    net = Sum(Paid.amount, -Refunded.paid)
    big = Sum(Paid.amount, where=Paid.amount >= 50)
    payments = Count(Paid)
    moves = Count(Paid, Refunded, Closed)
    payers = CountDistinct(Paid.payer)
    hands = CountDistinct(Paid.payer, Refunded.payer)
    least = Min(Paid.amount)
    most = Max(Paid.amount)
    greatest = Top(3, Paid.amount // (Paid.kind - 1))
    first_kind = First(Paid.kind)
    last_payer = Latest(Paid.payer, Refunded.payer)
    last_paid_at = Max(Paid.block_time)
    open = Latest({Opened: True, Closed: False})
    index = ("raised",)

    left = goal - raised
    reached = (raised * 4 >= goal * 3) & (payments > 1)
    share = raised // payments


class Balance(Projection):
    """One row per holder: one event counting for two keys."""

    holder = Key()

    balance = Sum(
        Transfer.keyed(holder="recipient").value,
        -Transfer.keyed(holder="sender").value,
    )
    received = Count(Transfer.keyed(holder="recipient"))
    last = Latest(
        Transfer.keyed(holder="recipient").value,
        Transfer.keyed(holder="sender").value,
    )


class Stake(Projection):
    """Two keys; one of them with another name in one event."""

    deal = Key()
    payer = Key()

    paid_in = Sum(Paid.amount)
    paid_back = Sum(Refunded.paid)

    at_stake = paid_in - paid_back


class Payer(Projection):
    """Only a count of values: the row exists for nothing else."""

    payer = Key()

    deals = CountDistinct(Paid.deal)


class Progress(Projection):
    """Order matters: a stage beside mergeable folds."""

    deal = Key()

    raised = Sum(Paid.amount)
    payers = CountDistinct(Paid.payer)
    stage = Stage(
        ([""], Opened, "open"),
        (["open", "funded"], Paid.only(Paid.amount >= 50), "funded"),
        (["open"], Closed.only(Closed.good == False), "failed"),  # noqa: E712
        (["funded"], Closed, "done"),
    )


def running_tally(state, fact):
    """A reducer that order changes: a hash-like chain over everything seen."""
    total = (state or {"steps": 0, "mix": 7})["mix"]
    amount = int(getattr(fact, "amount", 0) or getattr(fact, "paid", 0))
    return {
        "steps": (state or {"steps": 0})["steps"] + 1,
        "mix": (total * 31 + amount + fact.position) % 1_000_003,
        "last": fact.event,
    }


class Tally(Projection):
    """Order matters: any Python."""

    deal = Key()

    paid = Sum(Paid.amount)
    tally = Replay(running_tally, Paid, Refunded, Opened)


class Hourly(Projection):
    """Time as a key, and averages."""

    tick = Bucket("10 seconds")
    deal = Key()

    volume = Sum(Paid.amount)
    last = Latest(Paid.amount)
    price = Average(Paid.amount)
    best = Top(2, Paid.amount, -Refunded.paid)
    ratio = Average(Paid.amount // (Paid.kind - 1), -Refunded.paid)

    above = price - ratio


PROJECTIONS = [Deal, Balance, Stake, Payer, Progress, Tally, Hourly]
REGISTRY = Registry.of(EVENTS, PROJECTIONS)
