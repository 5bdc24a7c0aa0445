"""One campaign, from creation to the last refund."""

from __future__ import annotations

import pytest

from helpers.anvil import DAY, ETHER, World, refused
from ops.devnet.client import Contract, Receipt
from ops.devnet.codec import bytes32

pytestmark = pytest.mark.chain

ACTIVE, FUNDED, SUCCESSFUL, FAILED, REFUNDING, REFUNDED, CANCELLED = range(1, 8)
ZERO = "0x" + "00" * 20
NOTHING = b"\0" * 32


def moves(receipt: Receipt) -> list[tuple[int, int]]:
    events = receipt.events("CampaignStatusChanged")
    return [(event.args["from"], event.args["to"]) for event in events]


def amounts(receipt: Receipt, name: str) -> dict[str, int]:
    return receipt.event(name).args


def failed(world: World, *amounts: int) -> Contract:
    """A campaign that failed with these native investments, one an investor."""
    campaign = world.campaign()
    for investor, amount in zip(world.investors, amounts, strict=False):
        world.invest(campaign, investor, amount)
    world.finalize(campaign)
    return campaign


class TestCreation:
    def test_logs_of_the_clone_precede_its_announcement(self, world: World) -> None:
        """An indexer must take the child's logs from before the parent's word."""
        world.register(world.issuers[0])

        events = world.create(world.issuers[0]).events()

        announced = next(e for e in events if e.name == "CampaignCreated")
        campaign = announced.args["campaignAddress"]
        places = [(e.name, e.address == campaign) for e in events]
        assert places == [
            ("CampaignTermsSet", True),
            ("CampaignStatusChanged", True),
            ("Initialized", True),
            ("ExclusivityLockChanged", False),
            ("CampaignCreated", False),
        ]

    def test_operator_creates_and_the_issuer_is_paid(self, world: World) -> None:
        issuer = world.issuers[0]
        campaign = world.campaign(issuer)
        before = world.chain.balance(issuer)

        world.invest(campaign, world.investors[0], 8 * ETHER)

        assert world.call(campaign, "creator") == world.operator
        assert world.call(campaign, "beneficiary") == issuer
        assert world.chain.balance(issuer) - before == 78 * ETHER // 10

    def test_issuer_creates_for_itself_only(self, world: World) -> None:
        first, second = world.issuers[:2]
        world.register(first)
        world.register(second)

        world.create(first, sender=first)

        with refused("NotIssuerNorOperator", first, second):
            world.create(second, "C-2", sender=first)

    def test_registry_can_not_be_bypassed(self, world: World) -> None:
        with refused("IssuerNotRegistered", world.stranger):
            world.create(world.stranger, sender=world.stranger)
        with refused("IssuerNotRegistered", world.stranger):
            world.create(world.stranger)

    @pytest.mark.parametrize(
        ("terms", "refusal"),
        [
            ({"goal": 0}, "GoalOutOfRange"),
            ({"goal": 2**128}, "GoalOutOfRange"),
            ({"duration": 0}, "DurationOutOfRange"),
            ({"duration": 366 * DAY}, "DurationOutOfRange"),
            ({"campaign_id": ""}, "EmptyField"),
        ],
    )
    def test_terms_are_checked(
        self, world: World, terms: dict[str, object], refusal: str
    ) -> None:
        world.register(world.issuers[0])
        with refused(refusal):
            world.create(world.issuers[0], **terms)

    def test_campaign_id_is_used_once(self, world: World) -> None:
        campaign = world.campaign(world.issuers[0])
        world.register(world.issuers[1])
        with refused("CampaignIdExists", "C-1", campaign.address):
            world.create(world.issuers[1])

    def test_clone_and_implementation_can_not_be_initialized_again(
        self, world: World
    ) -> None:
        terms = (ZERO, world.stranger, ZERO, "x", "y", "", "", 1, 1, 0)
        implementation = world.deployment.contract("CampaignImplementation")
        for contract in (world.campaign(), implementation):
            with refused("InvalidInitialization"):
                world.send(world.stranger, contract, "initialize", terms)


class TestInvesting:
    def test_investment_is_numbered_and_totalled(self, world: World) -> None:
        campaign = world.campaign()

        first = world.invest(campaign, world.investors[0], ETHER)
        second = world.invest(campaign, world.investors[0], 2 * ETHER)

        made = [r.event("InvestmentMade").args for r in (first, second)]
        assert [m["totalRaised"] for m in made] == [ETHER, 3 * ETHER]
        assert made[0]["investmentId"] != made[1]["investmentId"]
        assert made[0]["methodCode"] == bytes32("crypto")
        assert made[0]["paymentRef"] == NOTHING
        assert world.call(campaign, "investedBy", world.investors[0]) == 3 * ETHER

    def test_plain_transfer_is_an_investment(self, world: World) -> None:
        campaign = world.campaign()
        name = world.anvil.rpc(
            "eth_sendTransaction",
            {"from": world.investors[0], "to": campaign.address, "value": hex(ETHER)},
        )

        event = world.chain.receipt(name).event("InvestmentMade")

        assert event.args["investor"] == world.investors[0]

    def test_payment_made_elsewhere_counts_and_names_its_payment(
        self, world: World
    ) -> None:
        campaign = world.campaign()

        receipt = world.record(
            campaign, world.investors[0], ETHER, method="cbe", reference="TX-1"
        )

        event = receipt.event("InvestmentMade").args
        assert event["methodCode"] == bytes32("cbe")
        assert event["paymentRef"] == bytes32("TX-1")
        assert world.call(campaign, "totalRaised") == ETHER
        assert world.chain.balance(campaign.address) == 0

    def test_payment_is_recorded_once_on_all_campaigns(self, world: World) -> None:
        first = world.campaign(world.issuers[0])
        second = world.campaign(world.issuers[1], campaign_id="C-2")
        world.record(first, world.investors[0], ETHER, reference="TX-1")

        for campaign in (first, second):
            with refused("PaymentRefUsed", bytes32("TX-1"), first.address):
                world.record(campaign, world.investors[1], ETHER, reference="TX-1")

    def test_recording_is_for_operators_with_a_true_method(self, world: World) -> None:
        campaign = world.campaign()
        investor = world.investors[0]
        arguments = (investor, ETHER, bytes32("cbe"), bytes32("r"))
        with refused("AccessControlUnauthorizedAccount"):
            world.send(investor, campaign, "recordInvestment", *arguments)
        with refused("ReservedMethod"):
            world.record(campaign, investor, ETHER, method="crypto")
        with refused("EmptyField", "methodCode"):
            world.record(campaign, investor, ETHER, method="")
        with refused("EmptyField", "amount"):
            world.record(campaign, investor, 0)
        with refused("EmptyField", "amount"):
            world.invest(campaign, investor, 0)

    def test_beneficiary_can_not_invest_by_either_door(self, world: World) -> None:
        campaign = world.campaign(world.issuers[0])
        with refused("BeneficiaryCannotInvest", world.issuers[0]):
            world.invest(campaign, world.issuers[0], ETHER)
        with refused("BeneficiaryCannotInvest", world.issuers[0]):
            world.record(campaign, world.issuers[0], ETHER)

    def test_methods_of_one_investor_are_bounded(self, world: World) -> None:
        campaign = world.campaign(goal=100 * ETHER)
        for number in range(8):
            world.record(campaign, world.investors[0], 1, method=f"bank-{number}")
        world.record(campaign, world.investors[0], 1, method="bank-3")
        with refused("TooManyMethods", world.investors[0], 8):
            world.record(campaign, world.investors[0], 1, method="bank-8")

    def test_deadline_is_the_last_moment(self, world: World) -> None:
        campaign = world.campaign()
        deadline = world.call(campaign, "deadline")
        world.anvil.set_time(deadline - 2)

        receipt = world.invest(campaign, world.investors[0], ETHER)

        assert world.anvil.time == deadline
        assert receipt.succeeded
        with refused("DeadlinePassed", deadline, deadline + 2):
            world.invest(campaign, world.investors[0], ETHER)

    def test_pausing_stops_investing_and_nothing_else(self, world: World) -> None:
        campaign = world.campaign()
        world.invest(campaign, world.investors[0], ETHER)
        with refused("AccessControlUnauthorizedAccount"):
            world.send(world.operator, campaign, "pause")

        paused = world.send(world.admin, campaign, "pause")

        assert paused.event("Paused").args == {"account": world.admin}
        with refused("EnforcedPause"):
            world.invest(campaign, world.investors[0], ETHER)
        with refused("EnforcedPause"):
            world.record(campaign, world.investors[0], ETHER)
        world.finalize(campaign)
        world.send(world.investors[0], campaign, "requestRefund")
        resumed = world.send(world.admin, campaign, "unpause")
        assert resumed.event("Unpaused").args == {"account": world.admin}


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


class TestCompletion:
    def test_anybody_finalizes_after_the_deadline_and_only_then(
        self, world: World
    ) -> None:
        campaign = world.campaign()
        deadline = world.call(campaign, "deadline")
        with refused("DeadlineNotReached"):
            world.send(world.stranger, campaign, "finalize")
        world.anvil.set_time(deadline - 2)
        with refused("DeadlineNotReached", deadline, deadline):
            world.send(world.stranger, campaign, "finalize")

        receipt = world.finalize(campaign)

        assert moves(receipt) == [(ACTIVE, FAILED)]
        with refused("WrongStatus", FAILED):
            world.send(world.stranger, campaign, "finalize")

    def test_success_is_told_by_campaign_and_factory(self, world: World) -> None:
        campaign = world.campaign()
        world.invest(campaign, world.investors[0], 8 * ETHER)

        receipt = world.finalize(campaign)

        assert moves(receipt) == [(FUNDED, SUCCESSFUL)]
        told = {e.address: e.args for e in receipt.events("CampaignCompleted")}
        assert told[campaign.address] == {
            "successful": True,
            "totalRaised": 8 * ETHER,
        }
        assert told[world.factory.address]["campaignId"] == "C-1"
        assert told[world.factory.address]["successful"] is True

    def test_cancelling_refunds_and_frees_the_issuer(self, world: World) -> None:
        campaign = world.campaign()
        investor = world.investors[0]
        world.invest(campaign, investor, ETHER)

        receipt = world.send(world.admin, campaign, "cancel", "withdrawn")

        assert moves(receipt) == [(ACTIVE, CANCELLED)]
        assert receipt.event("CampaignCancelled").args == {"reason": "withdrawn"}
        assert receipt.event("ExclusivityLockChanged").args["locked"] is False
        refund = world.send(investor, campaign, "requestRefund")
        assert moves(refund) == [(CANCELLED, REFUNDING), (REFUNDING, REFUNDED)]

    def test_funded_campaign_can_not_be_cancelled(self, world: World) -> None:
        campaign = world.campaign()
        world.invest(campaign, world.investors[0], 8 * ETHER)
        with refused("WrongStatus", FUNDED):
            world.send(world.admin, campaign, "cancel", "too late")
        with refused("WrongStatus", FUNDED):
            world.send(world.investors[0], campaign, "requestRefund")


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
