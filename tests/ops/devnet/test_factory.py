"""The factory: fees, references, and who may change what."""

from __future__ import annotations

import pytest

from helpers.anvil import ETHER, World, refused

pytestmark = pytest.mark.chain


def test_fees_are_withdrawn_to_the_recipient_with_an_event(world: World) -> None:
    campaign = world.campaign()
    world.invest(campaign, world.investors[0], 8 * ETHER)
    before = world.chain.balance(world.treasury)

    receipt = world.send(world.admin, world.factory, "withdrawFees")

    expected = {"recipient": world.treasury, "amount": 2 * ETHER // 10}
    assert receipt.event("PlatformFeesWithdrawn").args == expected
    assert world.chain.balance(world.treasury) - before == 2 * ETHER // 10
    with refused("NoFeesHeld"):
        world.send(world.admin, world.factory, "withdrawFees")


def test_fee_is_at_most_ten_percent(world: World) -> None:
    receipt = world.send(world.admin, world.factory, "updatePlatformFee", 1000)

    assert receipt.event("PlatformFeeUpdated").args == {"newFee": 1000}
    with refused("FeeTooHigh", 1001, 1000):
        world.send(world.admin, world.factory, "updatePlatformFee", 1001)


def test_settings_say_what_they_became(world: World) -> None:
    factory, stranger = world.factory, world.stranger

    recipient = world.send(world.admin, factory, "updateFeeRecipient", stranger)
    code = world.send(world.admin, factory, "setImplementation", factory.address)

    assert recipient.event("FeeRecipientUpdated").args == {"newRecipient": stranger}
    implementation = code.event("ImplementationUpdated").args["newImplementation"]
    assert implementation == factory.address
    with refused("NotAContract", stranger):
        world.send(world.admin, factory, "setImplementation", stranger)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("withdrawFees", ()),
        ("updatePlatformFee", (1,)),
        ("updateFeeRecipient", ("0x" + "11" * 20,)),
        ("setImplementation", ("0x" + "11" * 20,)),
    ],
)
def test_operator_is_no_administrator(
    world: World, function: str, arguments: tuple[object, ...]
) -> None:
    with refused("AccessControlUnauthorizedAccount"):
        world.send(world.operator, world.factory, function, *arguments)


def test_only_campaigns_of_the_factory_report_to_it(world: World) -> None:
    calls = (("collectFee",), ("claimPaymentRef", b"\1" * 32))
    for function, *arguments in (*calls, ("reportCompletion", 1, True)):
        with refused("NotCampaign", world.admin):
            world.send(world.admin, world.factory, function, *arguments)


def test_role_taken_at_the_factory_is_gone_on_every_campaign(world: World) -> None:
    campaign = world.campaign()
    role = world.call(world.factory, "OPERATOR_ROLE")
    world.record(campaign, world.investors[0], ETHER)

    world.send(world.admin, world.factory, "revokeRole", role, world.operator)

    with refused("AccessControlUnauthorizedAccount", world.operator, role):
        world.record(campaign, world.investors[0], ETHER)


def test_campaigns_are_found_by_id_and_number(world: World) -> None:
    campaign = world.campaign(campaign_id="C-9")

    assert world.call(world.factory, "campaignIdToAddress", "C-9") == campaign.address
    assert world.call(world.factory, "getCampaignCount") == 1
    assert world.call(world.factory, "campaignAt", 0) == campaign.address
