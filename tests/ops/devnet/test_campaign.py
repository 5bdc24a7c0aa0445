"""One campaign, from its creation to its end."""

from __future__ import annotations

import pytest

from devnet.codec import bytes32
from helpers.anvil import (
    ACTIVE,
    CANCELLED,
    DAY,
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

ZERO = "0x" + "00" * 20
NOTHING = b"\0" * 32


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
