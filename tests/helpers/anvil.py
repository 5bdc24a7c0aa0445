"""A development chain with the crowdfunding contracts and people to act on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from devnet.anvil import Anvil
from devnet.client import Chain, Contract, Receipt, RevertedError
from devnet.codec import Refusal, bytes32
from devnet.deploy import Deployment
from devnet.run import up

ETHER = 10**18
DAY = 86_400

ACTIVE, FUNDED, SUCCESSFUL, FAILED, REFUNDING, REFUNDED, CANCELLED = range(1, 8)
"""Where a campaign stands, as its contract counts."""


@dataclass
class World:
    """A chain, its contracts by name, and accounts by role."""

    anvil: Anvil
    deployment: Deployment
    chain: Chain

    def __post_init__(self) -> None:
        accounts = self.chain.accounts()
        self.admin, self.operator, self.treasury, self.stranger = accounts[:4]
        self.issuers = accounts[4:8]
        self.investors = accounts[8:]
        self.registry = self.deployment.contract("IssuerRegistry")
        self.factory = self.deployment.contract("CampaignFactory")
        self.certificates = self.deployment.contract("NFTShareCertificate")
        self.escrow = self.deployment.contract("FundEscrow")
        self._references = 0

    def send(
        self, sender: str, to: Contract, function: str, *args: object, value: int = 0
    ) -> Receipt:
        return self.chain.send(sender, to, function, *args, value=value)

    def call(self, to: Contract, function: str, *args: object) -> Any:
        return self.chain.call(to, function, *args)

    def register(self, issuer: str) -> Receipt:
        return self.send(
            self.operator, self.registry, "registerIssuer", issuer, "vc", "ipfs"
        )

    def create(self, issuer: str, campaign_id: str = "C-1", **terms: Any) -> Receipt:
        return self.send(
            terms.get("sender", self.operator),
            self.factory,
            "createCampaign",
            campaign_id,
            "Acme",
            "A description",
            terms.get("goal", 10 * ETHER),
            terms.get("duration", 30 * DAY),
            "doc",
            issuer,
        )

    def campaign(self, issuer: str | None = None, **terms: Any) -> Contract:
        """A new campaign of a registered issuer."""
        issuer = issuer or self.issuers[0]
        if not self.call(self.registry, "isRegisteredIssuer", issuer):
            self.register(issuer)
        created = self.create(issuer, **terms).event("CampaignCreated")
        return Contract("CampaignImplementation", created.args["campaignAddress"])

    def invest(self, campaign: Contract, investor: str, amount: int) -> Receipt:
        return self.send(investor, campaign, "investCrypto", value=amount)

    def record(
        self,
        campaign: Contract,
        investor: str,
        amount: int,
        *,
        method: str = "telebirr",
        reference: str | None = None,
    ) -> Receipt:
        self._references += 1
        return self.send(
            self.operator,
            campaign,
            "recordInvestment",
            investor,
            amount,
            bytes32(method),
            bytes32(reference or f"ref-{self._references}"),
        )

    def pass_deadline(self, campaign: Contract) -> None:
        self.anvil.set_time(self.call(campaign, "deadline") + 1)

    def finalize(self, campaign: Contract) -> Receipt:
        """Ends a campaign after its deadline; a stranger does it."""
        self.pass_deadline(campaign)
        return self.send(self.stranger, campaign, "finalize")

    @contextlib.contextmanager
    def undone(self) -> Iterator[World]:
        """Whatever happens inside did not happen."""
        snapshot = self.anvil.snapshot()
        try:
            yield self
        finally:
            self.anvil.revert(snapshot)


@contextlib.contextmanager
def fresh_world() -> Iterator[World]:
    """A fresh reproducible chain with everything deployed."""
    anvil, deployment = up()
    try:
        yield World(anvil, deployment, Chain(anvil.client))
    finally:
        anvil.stop()


@contextlib.contextmanager
def refused(name: str, *args: object) -> Iterator[None]:
    """The contract refuses by this custom error, with these arguments if given."""
    with pytest.raises(RevertedError) as caught:
        yield
    refusal = caught.value.refusal
    assert refusal is not None, str(caught.value)
    assert refusal == Refusal(name, args if args else refusal.args)


def moves(receipt: Receipt) -> list[tuple[int, int]]:
    """The campaign's steps in one transaction."""
    events = receipt.events("CampaignStatusChanged")
    return [(event.args["from"], event.args["to"]) for event in events]
