"""What the benchmark indexes: token balances, campaigns and holdings."""

from db.declare import (
    Address,
    Contract,
    Count,
    Event,
    First,
    Key,
    Max,
    Projection,
    Sum,
    Uint,
)
from db.registry import Registry


def _event(name, *inputs):
    return {
        "type": "event",
        "name": name,
        "anonymous": False,
        "inputs": [{"name": n, "type": t, "indexed": i} for n, t, i in inputs],
    }


token = Contract(
    "Token",
    abi=[
        _event(
            "Transfer",
            ("from", "address", True),
            ("to", "address", True),
            ("value", "uint256", False),
        )
    ],
)
factory = Contract(
    "Factory",
    abi=[
        _event(
            "CampaignCreated",
            ("campaign", "address", True),
            ("issuer", "address", True),
            ("goal", "uint256", False),
        )
    ],
)


class Transfer(Event):
    """A token moved."""

    source = token
    sender = Address(param="from")
    recipient = Address(param="to")
    value = Uint()


class CampaignCreated(Event):
    """A campaign was made."""

    source = factory
    campaign = Address()
    issuer = Address()
    goal = Uint()


campaigns = Contract(
    "Campaign",
    created_by=CampaignCreated.campaign,
    abi=[
        _event(
            "Invested",
            ("investor", "address", True),
            ("amount", "uint256", False),
            ("totalRaised", "uint256", False),
        )
    ],
)


class Invested(Event):
    """Money came in."""

    source = campaigns
    campaign = Address(emitter=True)
    investor = Address()
    amount = Uint()
    total_raised = Uint()


class Balance(Projection):
    """One row per holder."""

    holder = Key()

    balance = Sum(
        Transfer.keyed(holder="recipient").value, -Transfer.keyed(holder="sender").value
    )


class Campaign(Projection):
    """One row per campaign."""

    campaign = Key()

    issuer = First(CampaignCreated.issuer)
    goal = First(CampaignCreated.goal)
    raised = Sum(Invested.amount)
    investments = Count(Invested)
    last_invested_at = Max(Invested.block_time)


class Holding(Projection):
    """One row per investor in a campaign."""

    campaign = Key()
    investor = Key()

    paid_in = Sum(Invested.amount)
    investments = Count(Invested)


REGISTRY = Registry.of(
    [Transfer, CampaignCreated, Invested], [Balance, Campaign, Holding]
)
