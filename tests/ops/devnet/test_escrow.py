"""The escrow: money held for campaigns settled by a custodian."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak

from helpers.anvil import ETHER, World, refused

pytestmark = pytest.mark.chain

CAMPAIGN = "C-1"
KEY = keccak(text=CAMPAIGN)
NONE, OPEN, RELEASED, REFUNDING, WITHDRAWN = range(5)


@pytest.fixture
def account(world: World) -> World:
    """An account with 3 of the first investor and 1 of the second."""
    issuer = world.issuers[0]
    world.send(world.operator, world.escrow, "createEscrowAccount", CAMPAIGN, issuer)
    for investor, amount in zip(world.investors, (3, 1), strict=False):
        world.send(
            investor,
            world.escrow,
            "depositFunds",
            CAMPAIGN,
            investor,
            value=amount * ETHER,
        )
    return world


def test_account_creation_names_the_campaign_in_clear_and_by_key(world: World) -> None:
    issuer = world.issuers[0]
    create = (world.operator, world.escrow, "createEscrowAccount")

    receipt = world.send(*create, CAMPAIGN, issuer)

    expected = {"campaignKey": KEY, "issuer": issuer, "campaignId": CAMPAIGN}
    assert receipt.event("EscrowAccountCreated").args == expected
    with refused("AccountExists", CAMPAIGN):
        world.send(*create, CAMPAIGN, issuer)
    with refused("EmptyField", "campaignId"):
        world.send(*create, "", issuer)


def test_deposit_says_whose_and_the_new_total(account: World) -> None:
    world, investor = account, account.investors[0]

    receipt = world.send(
        world.operator, world.escrow, "depositFunds", CAMPAIGN, investor, value=ETHER
    )

    assert receipt.event("FundsDeposited").args == {
        "campaignKey": KEY,
        "investor": investor,
        "campaignId": CAMPAIGN,
        "amount": ETHER,
        "totalEscrow": 5 * ETHER,
    }
    with refused("AccessControlUnauthorizedAccount"):
        deposit = (world.stranger, world.escrow, "depositFunds", CAMPAIGN, investor)
        world.send(*deposit, value=ETHER)
    with refused("WrongEscrowStatus", "C-2", NONE):
        world.send(investor, world.escrow, "depositFunds", "C-2", investor, value=ETHER)


def test_release_pays_the_issuer_and_closes_the_account(account: World) -> None:
    world, issuer = account, account.issuers[0]
    before = world.chain.balance(issuer)

    receipt = world.send(world.operator, world.escrow, "releaseFunds", CAMPAIGN)

    assert receipt.event("FundsReleased").args == {
        "campaignKey": KEY,
        "issuer": issuer,
        "campaignId": CAMPAIGN,
        "amount": 4 * ETHER,
    }
    assert world.chain.balance(issuer) - before == 4 * ETHER
    for function in ("releaseFunds", "openRefunds"):
        with refused("WrongEscrowStatus", CAMPAIGN, RELEASED):
            world.send(world.operator, world.escrow, function, CAMPAIGN)


def test_refunds_are_taken_one_by_one(account: World) -> None:
    world, first, hostile = account, *account.investors[:2]
    refund = (world.stranger, world.escrow, "processRefund", CAMPAIGN)
    with refused("WrongEscrowStatus", CAMPAIGN, OPEN):
        world.send(*refund, first)

    opened = world.send(world.operator, world.escrow, "openRefunds", CAMPAIGN)

    assert opened.event("RefundsOpened").args["totalEscrow"] == 4 * ETHER
    world.anvil.rpc("anvil_setCode", hostile, "0x60006000fd")
    with refused("PaymentFailed", hostile, ETHER):
        world.send(*refund, hostile)
    before = world.chain.balance(first)
    paid = world.send(*refund, first).event("RefundProcessed").args
    assert (paid["investor"], paid["amount"]) == (first, 3 * ETHER)
    assert paid["campaignId"] == CAMPAIGN
    assert world.chain.balance(first) - before == 3 * ETHER
    with refused("NothingDeposited", CAMPAIGN, first):
        world.send(*refund, first)


def test_pause_stops_all_money(account: World) -> None:
    world, investor = account, account.investors[0]
    world.send(world.operator, world.escrow, "openRefunds", CAMPAIGN)

    world.send(world.admin, world.escrow, "pause")

    for function, *arguments in (
        ("depositFunds", CAMPAIGN, investor),
        ("releaseFunds", CAMPAIGN),
        ("openRefunds", CAMPAIGN),
        ("processRefund", CAMPAIGN, investor),
        ("createEscrowAccount", "C-2", investor),
    ):
        with refused("EnforcedPause"):
            world.send(world.operator, world.escrow, function, *arguments)
    world.send(world.admin, world.escrow, "unpause")
    world.send(investor, world.escrow, "processRefund", CAMPAIGN, investor)


def test_emergency_withdrawal_is_told_and_only_while_paused(account: World) -> None:
    world, safe = account, account.stranger
    withdraw = (world.admin, world.escrow, "emergencyWithdraw", CAMPAIGN, safe)
    with refused("ExpectedPause"):
        world.send(*withdraw)
    world.send(world.admin, world.escrow, "pause")
    before = world.chain.balance(safe)

    receipt = world.send(*withdraw)

    assert receipt.event("EmergencyWithdrawal").args == {
        "campaignKey": KEY,
        "to": safe,
        "campaignId": CAMPAIGN,
        "amount": 4 * ETHER,
    }
    assert world.chain.balance(safe) - before == 4 * ETHER
    with refused("WrongEscrowStatus", CAMPAIGN, WITHDRAWN):
        world.send(*withdraw)
