"""Timers of crowdfunding: campaigns that are over, and refunds that are open."""

from collections.abc import Iterator
from typing import Any

from db.declare import Command, Tables, due
from db.domains.crowdfunding.commands import FinaliseCampaign, RefundInvestor
from db.domains.crowdfunding.projections import Campaign, Holding


@due(rows=Campaign, at="deadline", when={"stage": ("active", "funded")})
def finalise(campaign: Any, tables: Tables) -> Iterator[Command]:
    """The deadline of a campaign is over: it is ended, whatever it raised."""
    yield FinaliseCampaign(campaign=campaign.campaign)


@due(
    rows=Campaign,
    at="last_invested_at",
    when={"stage": ("failed", "cancelled", "refunding")},
)
def refund_investors(campaign: Any, tables: Tables) -> Iterator[Command]:
    """A campaign with investments failed or was cancelled: they are paid back."""
    for holding in tables.rows(Holding, campaign=campaign.campaign):
        if holding.invested > 0:
            yield RefundInvestor(campaign=campaign.campaign, investor=holding.investor)
