"""Share certificates: one an investor, worth something, and movable."""

from __future__ import annotations

import pytest

from devnet.client import Contract, Receipt
from helpers.anvil import ACTIVE, ETHER, World, refused

pytestmark = pytest.mark.chain


def successful(world: World, *amounts: int, goal: int = 10 * ETHER) -> Contract:
    campaign = world.campaign(goal=goal)
    for investor, amount in zip(world.investors, amounts, strict=False):
        world.invest(campaign, investor, amount)
    world.finalize(campaign)
    return campaign


def issue(world: World, campaign: Contract, investor: str) -> Receipt:
    return world.send(
        world.operator,
        world.certificates,
        "issueCertificate",
        campaign.address,
        investor,
        "ipfs://certificate",
    )


def votes(world: World, owner: str) -> int:
    count: int = world.call(world.certificates, "getVotingPower", owner)
    return count


def test_certificate_says_amount_shares_and_votes(world: World) -> None:
    goal = 10_000 * ETHER
    campaign = successful(world, 7_999 * ETHER, goal=goal)
    owner = world.investors[0]

    receipt = issue(world, campaign, owner)

    names = [event.name for event in receipt.events()]
    assert names == ["Transfer", "MetadataUpdate", "CertificateIssued"]
    assert receipt.event("CertificateIssued").args == {
        "tokenId": 1,
        "owner": owner,
        "campaign": campaign.address,
        "campaignId": "C-1",
        "investmentAmount": 7_999 * ETHER,
        "shareCount": 799,
        "votingPower": 7,
    }
    assert votes(world, owner) == 7


def test_tiny_investor_gets_one_share_and_blocks_nobody(world: World) -> None:
    """In the original an investor below 0.1 % of the goal stopped all certificates."""
    campaign = successful(world, 8 * ETHER, 1)

    for investor in world.investors[:2]:
        issue(world, campaign, investor)

    tiny = world.call(world.certificates, "certificates", 2)
    assert tiny[4:] == (1, 1, 1)


def test_investments_made_elsewhere_are_certified_too(world: World) -> None:
    campaign, investor = world.campaign(), world.investors[0]
    world.record(campaign, investor, 6 * ETHER)
    world.invest(campaign, investor, 2 * ETHER)
    world.finalize(campaign)

    event = issue(world, campaign, investor).event("CertificateIssued")

    assert event.args["investmentAmount"] == 8 * ETHER


def test_only_investors_of_successful_campaigns_are_certified_once(
    world: World,
) -> None:
    running = world.campaign(world.issuers[1], campaign_id="C-2")
    world.invest(running, world.investors[0], ETHER)
    with refused("CampaignNotSuccessful", running.address, ACTIVE):
        issue(world, running, world.investors[0])
    campaign = successful(world, 8 * ETHER)
    with refused("NotInvestor", campaign.address, world.stranger):
        issue(world, campaign, world.stranger)
    issue(world, campaign, world.investors[0])
    with refused("CertificateExists", 1):
        issue(world, campaign, world.investors[0])
    with refused("NotCampaign", world.factory.address):
        issue(world, world.factory, world.investors[0])


def test_transfer_is_the_truth_about_ownership(world: World) -> None:
    campaign = successful(world, 8 * ETHER)
    first, second = world.investors[:2]
    issue(world, campaign, first)

    receipt = world.send(first, world.certificates, "transferFrom", first, second, 1)

    assert receipt.event("Transfer").args == {"from": first, "to": second, "tokenId": 1}
    assert world.call(world.certificates, "ownerOf", 1) == second
    assert (votes(world, first), votes(world, second)) == (0, 1)


def test_certificate_is_revoked_once_with_a_reason(world: World) -> None:
    campaign = successful(world, 8 * ETHER)
    owner = world.investors[0]
    issue(world, campaign, owner)
    revoke = (world.certificates, "revokeCertificate", 1)
    with refused("EmptyField", "reason"):
        world.send(world.admin, *revoke, "")
    with refused("AccessControlUnauthorizedAccount"):
        world.send(world.operator, *revoke, "fraud")

    receipt = world.send(world.admin, *revoke, "fraud")

    revoked = {"tokenId": 1, "reason": "fraud"}
    assert receipt.event("CertificateRevoked").args == revoked
    assert votes(world, owner) == 0
    with refused("CertificateInactive", 1):
        world.send(world.admin, *revoke, "again")
    with refused("CertificateInactive", 1):
        world.send(owner, world.certificates, "transferFrom", owner, world.stranger, 1)


def test_base_address_is_announced(world: World) -> None:
    receipt = world.send(world.admin, world.certificates, "setBaseURI", "ipfs://x/")

    assert [e.name for e in receipt.events()] == [
        "BaseURIUpdated",
        "BatchMetadataUpdate",
    ]


def test_minting_needs_the_role(world: World) -> None:
    campaign = successful(world, 8 * ETHER)
    arguments = (campaign.address, world.investors[0], "ipfs://x")
    with refused("AccessControlUnauthorizedAccount"):
        world.send(world.stranger, world.certificates, "issueCertificate", *arguments)
