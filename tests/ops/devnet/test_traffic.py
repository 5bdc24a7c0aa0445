"""Made-up business: varied, reproducible, and true to what the contracts say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from abis import load_abi
from devnet.anvil import Anvil, AnvilOptions
from devnet.client import decode_log
from devnet.codec import Event, bytes32
from devnet.deploy import FOLLOWED, deploy
from examples.crowdfunding.traffic import Tally, Traffic
from helpers.anvil import World, fresh_world

pytestmark = [pytest.mark.chain, pytest.mark.slow]

STEPS = 350


def played(seed: int, steps: int) -> tuple[list[dict[str, Any]], Tally]:
    with fresh_world() as world:
        tally = Traffic(world.deployment, seed).play(steps)
        return logs_of(world), tally


def logs_of(world: World) -> list[dict[str, Any]]:
    span = {"fromBlock": "0x0", "toBlock": "latest"}
    logs: list[dict[str, Any]] = world.anvil.rpc("eth_getLogs", span)
    return logs


def test_same_seed_gives_the_same_logs() -> None:
    first, tally = played(seed=3, steps=60)
    second, _ = played(seed=3, steps=60)
    other, _ = played(seed=4, steps=60)

    assert tally.logs > 200
    assert first == second
    assert first != other


@pytest.fixture(scope="module")
def busy() -> Iterator[World]:
    with fresh_world() as world:
        Traffic(world.deployment, 11, transactions_max=30).play(STEPS)
        yield world


@pytest.fixture(scope="module")
def events(busy: World) -> list[Event]:
    return [decode_log(log) for log in logs_of(busy)]


def test_everything_the_contracts_can_say_is_said(events: list[Event]) -> None:
    declared = {
        entry["name"]
        for contract in ("PairFactory", "Pair", *FOLLOWED, "CampaignImplementation")
        for entry in load_abi(contract)
        if entry["type"] == "event"
    }

    unsaid = declared - {event.name for event in events}

    # Nobody here anchors, refuses money, changes roles or empties the pool.
    assert unsaid == {
        "Anchored",
        "ApprovalForAll",
        "Burn",
        "PayoutClaimed",
        "PayoutDeferred",
        "RoleAdminChanged",
        "RoleRevoked",
    }


def test_moves_include_every_way_a_campaign_can_end(events: list[Event]) -> None:
    moves = Counter(
        (e.args["from"], e.args["to"])
        for e in events
        if e.name == "CampaignStatusChanged"
    )
    assert set(moves) == {
        (0, 1),
        (1, 2),
        (1, 4),
        (1, 7),
        (2, 3),
        (4, 5),
        (7, 5),
        (5, 6),
    }


def test_balances_are_what_the_events_add_up_to(
    busy: World, events: list[Event]
) -> None:
    """Everything in native currency less what was released and paid back."""
    held: dict[str, int] = defaultdict(int)
    for event in events:
        if event.name == "InvestmentMade":
            native = event.args["methodCode"] == bytes32("crypto")
            held[event.address] += event.args["amount"] if native else 0
        elif event.name == "FundsReleased" and "grossRaised" in event.args:
            held[event.address] -= event.args["grossRaised"]
        elif event.name == "RefundIssued":
            held[event.address] -= event.args["paid"]
        elif event.name == "PlatformFeesReceived":
            held[event.address] += event.args["amount"]
        elif event.name == "PlatformFeesWithdrawn":
            held[event.address] -= event.args["amount"]
        elif event.name == "FundsDeposited":
            held[event.address] += event.args["amount"]
        elif event.name in ("RefundProcessed", "EmergencyWithdrawal") or (
            event.name == "FundsReleased"
        ):
            held[event.address] -= event.args["amount"]

    actual = {address: busy.chain.balance(address) for address in held}

    assert len(held) > 20
    assert actual == held


def test_locks_are_what_the_events_say(busy: World, events: list[Event]) -> None:
    locks: dict[str, str] = {}
    for event in events:
        if event.name == "ExclusivityLockChanged":
            campaign = event.args["campaign"] if event.args["locked"] else None
            locks[event.args["issuer"]] = campaign or "0x" + "00" * 20

    actual = {i: busy.call(busy.registry, "activeCampaign", i) for i in locks}

    assert actual == locks


def test_votes_follow_transfers_and_revocations(
    busy: World, events: list[Event]
) -> None:
    owner: dict[int, str] = {}
    power: dict[int, int] = {}
    for event in events:
        if event.name == "Transfer" and event.address == busy.certificates.address:
            owner[event.args["tokenId"]] = event.args["to"]
        elif event.name == "CertificateIssued":
            power[event.args["tokenId"]] = event.args["votingPower"]
        elif event.name == "CertificateRevoked":
            power[event.args["tokenId"]] = 0
    votes: dict[str, int] = defaultdict(int)
    for token, holder in owner.items():
        votes[holder] += power[token]

    actual = {h: busy.call(busy.certificates, "getVotingPower", h) for h in votes}

    assert actual == votes


def test_some_investments_are_in_the_block_that_makes_the_campaign(busy: World) -> None:
    """The hard case of following what a factory makes."""
    made: dict[str, str] = {}
    together = 0
    for log in logs_of(busy):
        event = decode_log(log)
        if event.name == "CampaignCreated":
            made[event.args["campaignAddress"]] = log["blockNumber"]
        elif event.name == "InvestmentMade":
            together += made.get(event.address) == log["blockNumber"]
    assert together > 0


def test_play_goes_on_after_one_that_was_killed(busy: World) -> None:
    """It left the chain waiting for blocks that nobody makes."""
    busy.anvil.rpc("evm_setAutomine", False)

    Traffic(busy.deployment, 12).play(3)

    assert busy.anvil.rpc("anvil_getAutomine") is True


def test_second_play_goes_on_from_the_first(busy: World) -> None:
    again = Traffic(busy.deployment, 11).play(40)

    assert again.transactions > 40
    assert busy.anvil.rpc("anvil_getAutomine") is True


def test_what_chainfold_does_by_itself_may_be_left_to_it() -> None:
    """As beside workers whose reactions and timers do it: the second is refused."""
    with Anvil() as anvil:
        tally = Traffic(deploy(anvil.url), 2, automated=True).play(120)

    assert tally.actions["invest"] > 0
    for done in ("finalize", "refundFor", "issueCertificate"):
        assert not tally.actions[done]


def test_chain_with_a_clock_takes_many_transactions_a_block() -> None:
    with Anvil(AnvilOptions(block_time=0.2)) as anvil:
        deployment = deploy(anvil.url)
        before = anvil.height

        tally = Traffic(deployment, 5).play(8)

        assert tally.transactions > 2 * (anvil.height - before)
