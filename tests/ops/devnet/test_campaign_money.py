"""A campaign's money: what is paid out, what is paid back, and what is only owed."""

from __future__ import annotations

import pytest

from devnet.client import Contract, Receipt
from devnet.codec import bytes32
from helpers.anvil import (
    ACTIVE,
    ETHER,
    FAILED,
    FUNDED,
    REFUNDED,
    REFUNDING,
    SUCCESSFUL,
    World,
    moves,
    refused,
)

pytestmark = pytest.mark.chain


def amounts(receipt: Receipt, name: str) -> dict[str, int]:
    return receipt.event(name).args


def failed(world: World, *amounts: int) -> Contract:
    """A campaign that failed with these native investments, one an investor."""
    campaign = world.campaign()
    for investor, amount in zip(world.investors, amounts, strict=False):
        world.invest(campaign, investor, amount)
    world.finalize(campaign)
    return campaign


class TestRelease:
    def test_release_comes_with_the_investment_that_reaches_the_threshold(
        self, world: World
    ) -> None:
        campaign = world.campaign()
        below = world.invest(campaign, world.investors[0], 75 * ETHER // 10 - 1)
        assert moves(below) == []

        reaching = world.invest(campaign, world.investors[1], 1)

        assert moves(reaching) == [(ACTIVE, FUNDED)]
        released = amounts(reaching, "FundsReleased")
        assert released["grossRaised"] == 75 * ETHER // 10

    def test_threshold_is_rounded_up(self, world: World) -> None:
        campaign = world.campaign(goal=10)
        assert moves(world.invest(campaign, world.investors[0], 7)) == []
        assert moves(world.invest(campaign, world.investors[0], 1)) == [
            (ACTIVE, FUNDED)
        ]

    def test_fee_is_two_and_a_half_percent_and_goes_to_the_factory(
        self, world: World
    ) -> None:
        campaign = world.campaign()

        receipt = world.invest(campaign, world.investors[0], 8 * ETHER)

        assert amounts(receipt, "FundsReleased") == {
            "grossRaised": 8 * ETHER,
            "creatorAmount": 78 * ETHER // 10,
            "platformFee": 2 * ETHER // 10,
        }
        received = receipt.event("PlatformFeesReceived").args
        assert received == {"campaign": campaign.address, "amount": 2 * ETHER // 10}
        assert world.chain.balance(world.factory.address) == 2 * ETHER // 10
        assert world.chain.balance(campaign.address) == 0

    def test_fiat_counts_but_pays_nothing_here_and_says_so(self, world: World) -> None:
        campaign = world.campaign()
        world.record(campaign, world.investors[0], 5 * ETHER)

        receipt = world.invest(campaign, world.investors[1], 3 * ETHER)

        assert amounts(receipt, "FundsReleased")["grossRaised"] == 3 * ETHER
        due = amounts(receipt, "FiatPayoutDue")
        assert due["grossRaised"] == 5 * ETHER
        assert due["platformFee"] == 5 * ETHER * 250 // 10_000
        assert due["creatorAmount"] + due["platformFee"] == 5 * ETHER

    def test_fiat_alone_funds_a_campaign_without_moving_money(
        self, world: World
    ) -> None:
        campaign = world.campaign()

        receipt = world.record(campaign, world.investors[0], 9 * ETHER)

        assert moves(receipt) == [(ACTIVE, FUNDED)]
        assert receipt.events("FundsReleased") == []
        assert moves(world.finalize(campaign)) == [(FUNDED, SUCCESSFUL)]

    def test_what_comes_after_the_release_is_released_at_completion(
        self, world: World
    ) -> None:
        """In the original this money had no way out."""
        issuer = world.issuers[0]
        campaign = world.campaign(issuer)
        before = world.chain.balance(issuer)
        world.invest(campaign, world.investors[0], 8 * ETHER)
        world.invest(campaign, world.investors[1], 4 * ETHER)
        world.record(campaign, world.investors[1], ETHER)
        assert world.chain.balance(campaign.address) == 4 * ETHER

        receipt = world.finalize(campaign)

        assert amounts(receipt, "FundsReleased")["grossRaised"] == 4 * ETHER
        assert amounts(receipt, "FiatPayoutDue")["grossRaised"] == ETHER
        assert world.chain.balance(campaign.address) == 0
        assert world.chain.balance(issuer) - before == 12 * ETHER * 975 // 1000

    def test_fee_is_the_one_the_campaign_was_created_with(self, world: World) -> None:
        campaign = world.campaign()
        world.send(world.admin, world.factory, "updatePlatformFee", 1000)

        receipt = world.invest(campaign, world.investors[0], 8 * ETHER)

        assert amounts(receipt, "FundsReleased")["platformFee"] == 2 * ETHER // 10

    def test_beneficiary_that_refuses_money_blocks_nobody(self, world: World) -> None:
        issuer, investor = world.issuers[0], world.investors[0]
        campaign = world.campaign(issuer)
        world.anvil.rpc("anvil_setCode", issuer, "0x60006000fd")

        receipt = world.invest(campaign, investor, 8 * ETHER)

        paid = 78 * ETHER // 10
        deferred = receipt.event("PayoutDeferred").args
        assert deferred == {"beneficiary": issuer, "amount": paid}
        world.finalize(campaign)
        world.anvil.rpc("anvil_setCode", issuer, "0x")
        with refused("NotBeneficiary", investor, issuer):
            world.send(investor, campaign, "claimPayout", investor)
        claimed = world.send(issuer, campaign, "claimPayout", world.stranger)
        assert claimed.event("PayoutClaimed").args["amount"] == paid
        assert world.chain.balance(campaign.address) == 0
        with refused("NothingOwed", issuer):
            world.send(issuer, campaign, "claimPayout", issuer)


class TestRefunds:
    def test_refund_pays_what_it_says(self, world: World) -> None:
        """The original announced refunds and paid nothing."""
        campaign = failed(world, 2 * ETHER, ETHER)
        first, second = world.investors[:2]
        before = world.chain.balance(first)

        receipt = world.send(world.stranger, campaign, "refundFor", first)

        expected = {"investor": first, "principal": 2 * ETHER, "paid": 2 * ETHER}
        assert receipt.event("RefundIssued").args == expected
        assert world.chain.balance(first) - before == 2 * ETHER
        assert moves(receipt) == [(FAILED, REFUNDING)]
        last = world.send(second, campaign, "requestRefund")
        assert moves(last) == [(REFUNDING, REFUNDED)]
        assert world.chain.balance(campaign.address) == 0

    def test_refund_is_paid_once(self, world: World) -> None:
        campaign = failed(world, ETHER, ETHER)
        investor = world.investors[0]
        world.send(investor, campaign, "requestRefund")
        with refused("AlreadyRefunded", investor):
            world.send(investor, campaign, "requestRefund")
        with refused("NothingInvested", world.stranger):
            world.send(world.stranger, campaign, "requestRefund")

    def test_stranger_does_not_start_the_refunding(self, world: World) -> None:
        campaign = failed(world, ETHER)
        with refused("NothingInvested", world.stranger):
            world.send(world.stranger, campaign, "requestRefund")
        assert world.call(campaign, "status") == FAILED

    def test_fiat_refund_is_owed_by_method_and_settled_once(self, world: World) -> None:
        campaign, investor = world.campaign(), world.investors[0]
        world.invest(campaign, investor, ETHER)
        world.record(campaign, investor, 2, method="cbe", reference="in")
        world.record(campaign, investor, 3, method="telebirr")
        world.finalize(campaign)

        receipt = world.send(investor, campaign, "requestRefund")

        issued = receipt.event("RefundIssued").args
        assert (issued["principal"], issued["paid"]) == (ETHER + 5, ETHER)
        owed = [
            (e.args["methodCode"], e.args["amount"])
            for e in receipt.events("RefundOwed")
        ]
        assert owed == [(bytes32("cbe"), 2), (bytes32("telebirr"), 3)]
        settle = (campaign, "settleRefund", investor, bytes32("cbe"))
        with refused("PaymentRefUsed", bytes32("in"), campaign.address):
            world.send(world.operator, *settle, bytes32("in"))
        settled = world.send(world.operator, *settle, bytes32("out"))
        assert settled.event("RefundSettled").args["amount"] == 2
        with refused("NothingOwed", investor):
            world.send(world.operator, *settle, bytes32("out-2"))

    def test_fiat_refund_moves_nothing(self, world: World) -> None:
        campaign, investor = world.campaign(), world.investors[0]
        world.record(campaign, investor, ETHER)
        world.finalize(campaign)

        receipt = world.send(world.operator, campaign, "refundFor", investor)

        assert receipt.event("RefundIssued").args["paid"] == 0
        assert receipt.event("RefundOwed").args["amount"] == ETHER

    def test_one_who_refuses_money_does_not_block_the_others(
        self, world: World
    ) -> None:
        campaign = failed(world, ETHER, ETHER)
        hostile, other = world.investors[:2]
        world.anvil.rpc("anvil_setCode", hostile, "0x60006000fd")
        with refused("PaymentFailed", hostile, ETHER):
            world.send(world.stranger, campaign, "refundFor", hostile)

        receipt = world.send(other, campaign, "requestRefund")

        assert receipt.event("RefundIssued").args["paid"] == ETHER

    def test_refund_can_not_be_entered_again(self, world: World) -> None:
        """The investor's code calls requestRefund() on whoever pays it."""
        campaign = failed(world, ETHER, 5 * ETHER)
        thief = world.investors[0]
        code = (
            "63d5cef13360e01b600052"  # the selector, at the start of memory
            "60006000600460006000335af15000"  # call the payer with it, and stop
        )
        world.anvil.rpc("anvil_setCode", thief, "0x" + code)
        before = world.chain.balance(thief)

        receipt = world.send(world.stranger, campaign, "refundFor", thief)

        assert len(receipt.events("RefundIssued")) == 1
        assert world.chain.balance(thief) - before == ETHER
        assert world.chain.balance(campaign.address) == 5 * ETHER

    def test_successful_campaign_refunds_nobody(self, world: World) -> None:
        campaign = world.campaign()
        world.invest(campaign, world.investors[0], 8 * ETHER)
        world.finalize(campaign)
        with refused("WrongStatus", SUCCESSFUL):
            world.send(world.investors[0], campaign, "requestRefund")
