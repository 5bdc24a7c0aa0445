"""Issuers, their locks, and the calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from devnet.client import Contract
from helpers.anvil import DAY, World, refused

pytestmark = pytest.mark.chain


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())


def test_registration_says_what_was_registered(world: World) -> None:
    issuer = world.issuers[0]

    event = world.register(issuer).event("IssuerRegistered")

    assert event.args["issuer"] == issuer
    assert (event.args["vcHash"], event.args["ipfsHash"]) == ("vc", "ipfs")
    assert event.args["timestamp"] == world.anvil.time
    with refused("IssuerAlreadyRegistered", issuer):
        world.register(issuer)


def test_registration_needs_both_hashes_an_address_and_the_role(world: World) -> None:
    registry, issuer = world.registry, world.issuers[0]
    with refused("EmptyField", "vcHash"):
        world.send(world.operator, registry, "registerIssuer", issuer, "", "x")
    with refused("EmptyField", "ipfsHash"):
        world.send(world.operator, registry, "registerIssuer", issuer, "x", "")
    with refused("ZeroAddress", "issuer"):
        world.send(
            world.operator, registry, "registerIssuer", "0x" + "00" * 20, "x", "y"
        )
    with refused("AccessControlUnauthorizedAccount"):
        world.send(world.stranger, registry, "registerIssuer", issuer, "x", "y")


def test_issuer_and_registrar_can_update_the_memorandum(world: World) -> None:
    issuer = world.issuers[0]
    world.register(issuer)

    own = world.send(issuer, world.registry, "updateInformationMemorandum", "a")
    theirs = world.send(
        world.operator, world.registry, "updateInformationMemorandumFor", issuer, "b"
    )

    name = "InformationMemorandumUpdated"
    assert own.event(name).args == {"issuer": issuer, "newIpfsHash": "a"}
    assert theirs.event(name).args == {"issuer": issuer, "newIpfsHash": "b"}
    with refused("IssuerNotRegistered", world.stranger):
        world.send(world.stranger, world.registry, "updateInformationMemorandum", "c")


def test_creation_takes_the_lock_and_completion_gives_it_back(world: World) -> None:
    issuer = world.issuers[0]
    world.register(issuer)

    created = world.create(issuer)
    campaign = created.event("CampaignCreated").args["campaignAddress"]

    taken = created.event("ExclusivityLockChanged").args
    expected = {"issuer": issuer, "campaign": campaign, "locked": True, "year": 2026}
    assert taken == expected
    assert not world.call(world.registry, "canStartCampaign", issuer)
    with refused("IssuerLocked", issuer, campaign):
        world.create(issuer, "C-2")

    contract = Contract("CampaignImplementation", campaign)
    released = world.finalize(contract).event("ExclusivityLockChanged").args
    assert released == {**expected, "locked": False}


def test_deactivation_clears_the_lock_and_says_so(world: World) -> None:
    issuer = world.issuers[0]
    campaign = world.campaign(issuer)

    receipt = world.send(world.operator, world.registry, "deactivateIssuer", issuer)

    cleared, deactivated = receipt.events()
    assert cleared.name == "ExclusivityLockChanged"
    assert cleared.args["campaign"] == campaign.address
    assert cleared.args["locked"] is False
    assert deactivated.name == "IssuerDeactivated"
    with refused("IssuerNotActive", issuer):
        world.send(world.operator, world.registry, "deactivateIssuer", issuer)


def test_campaign_of_a_deactivated_issuer_can_still_finish(world: World) -> None:
    issuer = world.issuers[0]
    campaign = world.campaign(issuer)
    world.send(world.operator, world.registry, "deactivateIssuer", issuer)

    receipt = world.finalize(campaign)

    assert receipt.events("ExclusivityLockChanged") == []
    assert len(receipt.events("CampaignCompleted")) == 2


def test_finishing_does_not_release_the_lock_of_a_later_campaign(world: World) -> None:
    issuer = world.issuers[0]
    old = world.campaign(issuer, duration=365 * DAY)
    world.send(world.operator, world.registry, "deactivateIssuer", issuer)
    world.send(world.operator, world.registry, "reactivateIssuer", issuer)
    world.anvil.set_time(at(2027, 1, 2))
    new = world.campaign(issuer, campaign_id="C-2", duration=90 * DAY)

    world.finalize(old)

    held = world.call(world.registry, "activeCampaign", issuer)
    assert held == new.address


def test_reactivation_does_not_earn_a_second_campaign(world: World) -> None:
    issuer = world.issuers[0]
    world.campaign(issuer)
    world.send(world.operator, world.registry, "deactivateIssuer", issuer)
    with refused("IssuerNotActive", issuer):
        world.create(issuer, "C-2")

    receipt = world.send(world.operator, world.registry, "reactivateIssuer", issuer)

    assert receipt.event("IssuerReactivated").args["issuer"] == issuer
    with refused("CampaignYearUsed", issuer, 2026):
        world.create(issuer, "C-2")
    with refused("IssuerAlreadyActive", issuer):
        world.send(world.operator, world.registry, "reactivateIssuer", issuer)


def test_second_campaign_is_possible_from_the_first_of_january(world: World) -> None:
    issuer = world.issuers[0]
    first = world.campaign(issuer)
    world.finalize(first)
    world.anvil.set_time(at(2026, 12, 31, 23, 59, 50))
    with refused("CampaignYearUsed", issuer, 2026):
        world.create(issuer, "C-2")

    world.anvil.set_time(at(2026, 12, 31, 23, 59, 59))
    assert not world.call(world.registry, "canStartCampaign", issuer)
    world.anvil.set_time(at(2027, 1, 1))
    assert world.call(world.registry, "canStartCampaign", issuer)

    event = world.create(issuer, "C-2").event("ExclusivityLockChanged")
    assert event.args["year"] == 2027


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2001, 2023, 2024, 2025, 2026])
def test_year_turns_exactly_at_midnight_utc(deployed: World, year: int) -> None:
    start = at(year, 1, 1)

    assert deployed.call(deployed.registry, "yearOf", start) == year
    if start:
        assert deployed.call(deployed.registry, "yearOf", start - 1) == year - 1


@pytest.mark.parametrize(
    "day", [(2024, 2, 29), (2028, 2, 29), (2024, 12, 31), (2100, 2, 28), (2100, 3, 1)]
)
def test_leap_days_stay_in_their_year(deployed: World, day: tuple[int, ...]) -> None:
    assert deployed.call(deployed.registry, "yearOf", at(*day, 23, 59, 59)) == day[0]


def test_every_year_of_four_centuries_agrees_with_the_calendar(deployed: World) -> None:
    encoded = [
        (year, at(year, month, day))
        for year in range(1970, 2370, 7)
        for month, day in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    calls = [
        (
            "eth_call",
            [
                {
                    "to": deployed.registry.address,
                    "data": deployed.registry.interface.encode_call("yearOf", when),
                },
                "latest",
            ],
        )
        for _, when in encoded
    ]

    answers = deployed.chain.rpc.batch(calls)

    assert [int(answer, 16) for answer in answers] == [year for year, _ in encoded]


def test_only_the_campaign_or_a_registrar_releases_a_lock(world: World) -> None:
    issuer = world.issuers[0]
    campaign = world.campaign(issuer)
    release = "releaseExclusivityLock"
    with refused("NotLockHolder", world.stranger, campaign.address):
        world.send(world.stranger, world.registry, release, issuer)

    receipt = world.send(world.operator, world.registry, release, issuer)

    assert receipt.event("ExclusivityLockChanged").args["locked"] is False
    with refused("IssuerNotLocked", issuer):
        world.send(world.operator, world.registry, release, issuer)


def test_nobody_but_the_factory_takes_locks(world: World) -> None:
    issuer = world.issuers[0]
    world.register(issuer)
    with refused("AccessControlUnauthorizedAccount"):
        world.send(
            world.admin, world.registry, "setExclusivityLock", issuer, world.admin
        )


def test_issuers_can_be_listed(world: World) -> None:
    for issuer in world.issuers[:2]:
        world.register(issuer)

    assert world.call(world.registry, "issuerCount") == 2
    assert world.call(world.registry, "issuerAt", 1) == world.issuers[1]
    assert world.call(world.registry, "getIssuer", world.issuers[1])[:2] == (
        "vc",
        "ipfs",
    )
