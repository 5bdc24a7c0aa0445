"""The program `settlement` on any node, with USDC and people to pay."""

from __future__ import annotations

import random

from solders.compute_budget import set_compute_unit_limit
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.programs.build import program
from devnet.solana import settlement
from devnet.solana.client import Client, associated, pay_tokens
from devnet.solana.settlement import Purchase, Settings
from ops.cluster import Cluster

FEE_BPS = 875  # basis points


class Market:
    """A program's key, USDC, a treasury that the client owns, and people to pay."""

    def __init__(self, url: str) -> None:
        self.chance = random.Random(20_261)
        self.client, self.program = Client(url), Keypair()
        self.client.fund()
        self.key = self.client.payer.pubkey()
        self.usdc = self.client.make_mint(6)
        self.treasury = self.client.make_account(self.usdc, self.key)
        self.client.mint_to(self.usdc, self.treasury, 10**12)
        self.people = [Keypair().pubkey() for _ in range(12)]
        for each in self.people:
            self.client.make_account(self.usdc, each)

    def deployed(self) -> Market:
        self.client.deploy(program("settlement"), self.program)
        return self

    def initialize(self, authority=None):
        settings = Settings(authority or self.key, FEE_BPS)
        return settlement.initialize(
            self.key, self.key, self.usdc, settings, self.program.pubkey()
        )

    def purchase(self, *points: int) -> Purchase:
        chance = self.chance
        whom = chance.sample(self.people, len(points))
        return Purchase(
            chance.randbytes(16), Keypair().pubkey(), chance.randint(10**5, 10**9),
            tuple(zip(whom, points, strict=True)), chance.randbytes(32),
            chance.randbytes(32),
        )  # fmt: skip

    def settle(self, purchase: Purchase, *before, **config) -> str:
        call = settlement.settle_purchase(
            self.key, self.key, self.treasury, self.usdc, purchase,
            self.program.pubkey(),
        )  # fmt: skip
        limit = set_compute_unit_limit(1_000_000)
        return self.client.send(limit, *before, call, **config)

    def drain(self, treasury=None) -> None:
        """Leave nothing in an account of the treasury: it goes to a stranger."""
        treasury = treasury or self.treasury
        account = self.client.make_account(self.usdc, Keypair().pubkey())
        held = self.held_in(treasury)
        self.client.send(pay_tokens(treasury, self.usdc, account, self.key, held, 6))

    def second_treasury(self, amount: int) -> Pubkey:
        """Make another USDC account of the treasury, at no associated address."""
        made = self.client.make_token_account(self.usdc, self.key)
        self.client.mint_to(self.usdc, made, amount)
        return made

    def held(self, owner) -> int:
        return self.held_in(associated(owner, self.usdc))

    def held_in(self, account) -> int:
        found = self.client.call(
            "getTokenAccountBalance", str(account), {"commitment": "confirmed"}
        )
        return int(found["value"]["amount"])


def cluster_at(client: Client, payer: Keypair | None = None, **options) -> Cluster:
    """The node of a client as those who deploy see it; the client's key pays."""
    genesis = client.call("getGenesisHash")
    payer = payer or client.payer
    return Cluster([client.rpc.url], f"solana:{genesis[:32]}", payer, **options)
