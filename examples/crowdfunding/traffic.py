"""Plays made-up business on a development chain, block after block.

On a chain that mines at once, each step is one block holding a handful of
transactions, and the chain's time is ours: now and then days pass. Two plays with
the same seed on fresh reproducible chains give the same logs. On a chain that makes
blocks by the clock, transactions are sent as fast and the blocks fall as they do.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from devnet.client import GAS_LIMIT, Chain, Contract, Receipt
from devnet.deploy import Deployment
from devnet.rpc import Rpc
from examples.crowdfunding.business import Before, Business
from examples.crowdfunding.invention import DAY, ETHER, Action, Dice, People
from examples.crowdfunding.side_business import EscrowBusiness, TokenBusiness
from ops.errors import OperationError

BLOCK_SECONDS = 2
TRANSACTIONS_MAX = 12
"""In one step. More make longer histories cheaper: anvil's blocks cost more the more
the chain holds, about 25 ms each after a thousand. Cut to what fits a block."""

LEAP_CHANCE = 0.08
LEAP_DAYS_MAX = 20
REFILL_STEPS = 500
INVESTOR_BALANCE = 10**9 * ETHER
FIRST_INVESTOR = 4
"""Of the chain's accounts; those before it run the platform."""


class TrafficError(OperationError):
    """The chain did not answer as the made-up business foresaw."""


@dataclass(frozen=True, slots=True)
class Step:
    """The effects of one step."""

    block: int
    timestamp: int
    actions: list[str]
    refused: int
    logs: int


@dataclass(slots=True)
class Tally:
    """The effects of many steps."""

    steps: int = 0
    transactions: int = 0
    refused: int = 0
    logs: int = 0
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        """Count one step."""
        self.steps += 1
        self.transactions += len(step.actions)
        self.refused += step.refused
        self.logs += step.logs
        self.actions.update(step.actions)


class Traffic:
    """Seeded business on one deployment."""

    def __init__(
        self,
        deployment: Deployment,
        seed: int = 0,
        *,
        transactions_max: int = TRANSACTIONS_MAX,
        automated: bool = False,
    ) -> None:
        self._chain = Chain(Rpc(deployment.url))
        block = self._latest()
        # Never more than one block holds: anvil forgets part of what does not fit.
        room = int(block["gasLimit"], 16) // GAS_LIMIT
        self._transactions_max = min(transactions_max, room)
        accounts = self._chain.accounts()
        self._people = People(
            admin=deployment.accounts["admin"],
            operator=deployment.accounts["operator"],
            investors=accounts[FIRST_INVESTOR:],
        )
        self._now = int(block["timestamp"], 16)
        self._steps = 0
        height = int(self._chain.rpc.call("eth_blockNumber"), 16)
        self._dice = Dice(seed, str(height))
        self._deployment = deployment
        self._crowdfunding = crowdfunding = Business(
            deployment, self._people, self._dice, self._before(deployment)
        )
        escrow = EscrowBusiness(deployment, self._people, self._dice, str(height))
        tokens = TokenBusiness(
            deployment, self._people, self._dice, self._pair(deployment)
        )
        # What Chainfold's own reactions and timers do would come first.
        issuing = crowdfunding.choices(automated=automated)
        offered = issuing + escrow.choices() + tokens.choices()
        self._moves = [move for _, move in offered]
        self._weights = list(accumulate(weight for weight, _ in offered))

    def play(self, steps: int) -> Tally:
        """Play some steps and say what they did."""
        tally = Tally()
        stream = self.stream()
        with contextlib.closing(stream):
            for _ in range(steps):
                tally.add(next(stream))
        return tally

    def stream(self) -> Generator[Step, None, None]:
        """Play on for ever, a step at a time. Close it to leave the chain as it was."""
        # Not whether it mines at once now: a play that was killed left that off.
        mining = self._chain.rpc.call("anvil_getIntervalMining") is None
        if mining:
            self._chain.rpc.call("evm_setAutomine", False)
        try:
            while True:
                yield self._step(ours=mining)
        finally:
            if mining:
                self._chain.rpc.call("evm_setAutomine", True)

    def alone(self) -> bool:
        """Whether the campaigns are those of this play; else their addresses are not.

        A campaign's address follows from its number, so one that somebody else made
        moves all later ones.
        """
        there = self._before(self._deployment).campaigns
        return there == self._crowdfunding.campaigns

    def _step(self, *, ours: bool) -> Step:
        if self._steps % REFILL_STEPS == 0:
            self._refill()
        self._steps += 1
        self._pass_time(ours=ours)
        count = self._dice.source.randint(1, self._transactions_max)
        actions = [self._next_action() for _ in range(count)]
        names = self._chain.submit([action.call for action in actions])
        if ours:
            self._chain.rpc.call("evm_setNextBlockTimestamp", self._now)
            self._chain.rpc.call("evm_mine")
        receipts = self._chain.receipts(names)
        for action, receipt in zip(actions, receipts, strict=True):
            if receipt.succeeded != action.accepted:
                raise self._surprise(action, receipt)
        return Step(
            block=receipts[-1].block,
            timestamp=self._now,
            actions=[action.name for action in actions],
            refused=sum(not receipt.succeeded for receipt in receipts),
            logs=sum(len(receipt.logs) for receipt in receipts),
        )

    def _pass_time(self, *, ours: bool) -> None:
        leap = 0
        if self._dice.source.random() < LEAP_CHANCE:
            leap = self._dice.source.randint(1, LEAP_DAYS_MAX) * DAY
        if ours:
            self._now += BLOCK_SECONDS + leap
            return
        if leap:
            self._chain.rpc.call("evm_increaseTime", leap)
        self._now = max(self._now, int(self._latest()["timestamp"], 16)) + leap

    def _next_action(self) -> Action:
        while True:
            (move,) = self._dice.source.choices(self._moves, cum_weights=self._weights)
            action = move(self._now)
            if action is not None:
                return action

    def _refill(self) -> None:
        for investor in self._people.investors:
            self._chain.rpc.call("anvil_setBalance", investor, hex(INVESTOR_BALANCE))

    def _surprise(self, action: Action, receipt: Receipt) -> TrafficError:
        expected = "accepted" if action.accepted else "refused"
        return TrafficError(
            f"{action.call} in block {receipt.block} ({receipt.transaction}) should "
            f"have been {expected}: is somebody else acting on this chain?"
        )

    # Any: a block as the node gives it.
    def _latest(self) -> dict[str, Any]:
        block: dict[str, Any] = self._chain.rpc.call(
            "eth_getBlockByNumber", "latest", False
        )
        return block

    def _before(self, deployment: Deployment) -> Before:
        def count(contract: str, function: str) -> int:
            return int(self._chain.call(deployment.contract(contract), function))

        return Before(
            issuers=count("IssuerRegistry", "issuerCount"),
            campaigns=count("CampaignFactory", "getCampaignCount"),
            certificates=count("NFTShareCertificate", "getCurrentTokenId"),
            fee_bps=count("CampaignFactory", "platformFeeBps"),
        )

    def _pair(self, deployment: Deployment) -> Contract:
        tokens = [deployment.contracts[n].address for n in ("TestToken", "TestTokenB")]
        factory = deployment.contract("PairFactory")
        return Contract("Pair", self._chain.call(factory, "getPair", *tokens))
