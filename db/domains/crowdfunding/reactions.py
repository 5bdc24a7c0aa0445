"""Reactions to events of the crowdfunding contracts."""

from collections.abc import Iterator
from typing import Any

from db.declare import Command, Tables, reaction
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.commands import MintCertificate
from db.domains.crowdfunding.projections import Campaign, Holding


@reaction(to=e.CampaignCompleted)
def certify_investors(event: Any, tables: Tables) -> Iterator[Command]:
    """The campaign succeeded and paid out: its investors get their certificates.

    Its money is released from 75 % of the goal on, and more may be invested until the
    deadline; only a completed campaign knows its investors, and the contract certifies
    none before.
    """
    if not event.successful:
        return
    campaign = tables.row(Campaign, campaign=event.campaign)
    assert campaign is not None  # it is the campaign that speaks
    for holding in tables.rows(Holding, campaign=event.campaign):
        if holding.invested > 0:
            yield MintCertificate(
                campaign=holding.campaign,
                investor=holding.investor,
                uri=f"certificate:{campaign.campaign_id}/0x{holding.investor.hex()}",
            )
