"""Thousands of settlements on the real program, followed through every fault of a node.

The truth is what accounts of the chain hold: the receipts of the program, which it
writes beside its events, and the USDC of treasury and creators.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter

from solders.compute_budget import set_compute_unit_limit
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from sqlalchemy import text

from db.declare import TokenMoved, Tokens
from db.domains.settlement import events as e
from db.registry import Registry
from devnet.solana import settlement
from devnet.solana.client import UPGRADER, Devnet, associated
from devnet.solana.settlement import Purchase, receipt_address
from helpers.solana_following import following
from helpers.tables import problems
from indexer.errors import Retryable
from indexer.follow import Behind, CaughtUp, step
from indexer.solana.assemble import FollowedProgram

REGISTRY = Registry.load(["settlement"])
FAULTS = ("null", "shuffle", "empty", "stale", "limit", "cut", "truncate", "filter")
SHARES = (0, 0.003, 0.02)  # of the requests that meet a fault besides
TREASURIES = 2
CREATORS = 40
FOLLOWED = 5  # of the creators, whose token movements are indexed
ROUNDS, IN_A_ROUND = 100, 25  # at most so many rounds, each of at least so many
FEES = (1_000, 250, 0)  # basis points, one after the other
STEPS = 2_000
FINAL_SLOTS = 70


class SettledChain:
    """A node with the program, people to pay, and the purchases that were settled."""

    def __init__(self, engine, url, seed):
        self.engine, self.url = engine, url
        self.chance = chance = random.Random(seed)
        self.devnet = Devnet(url, Keypair.from_seed(chance.randbytes(32)))
        self.devnet.fund(lamports=10**15)
        self.devnet.fund(UPGRADER.pubkey())
        key = self.devnet.payer.pubkey()
        self.usdc = self.devnet.make_mint(6)
        first = self.devnet.make_account(self.usdc, key)
        more = [self.devnet.make_token_account(self.usdc, key)
                for _ in range(1, TREASURIES)]  # fmt: skip
        self.treasuries = [first, *more]
        for each in self.treasuries:
            self.devnet.mint_to(self.usdc, each, 10**16)
        self.creators = [self._person() for _ in range(CREATORS)]
        for each in self.creators:
            self.devnet.make_account(self.usdc, each)
        chosen = settlement.Settings(key, FEES[0])
        call = settlement.initialize(UPGRADER.pubkey(), key, self.usdc, chosen)
        self.devnet.send(call, signers=[UPGRADER])
        self.purchases: dict[bytes, Purchase] = {}
        self.rounds = 0
        self.met = Counter()

    def play(self, count):
        """Settle so many purchases, and follow the chain all the while."""
        size = max(IN_A_ROUND, count // ROUNDS)
        while (left := count - len(self.purchases)) > 0:
            self._settle([self._purchase() for _ in range(min(size, left))])
            self.rounds += 1
            if self.rounds % 3 == 0:
                self._change_fee()
            self._follow_through_faults()
            if self.rounds % 4 == 0:
                self.devnet.fork(self.chance.randint(1, 20), keep=self.chance.random())
        while lost := [self.purchases[each] for each in sorted(self._lost())]:
            self._settle(lost)  # a fork took them
        self.devnet.advance(FINAL_SLOTS)
        self._follow()

    def _lost(self):
        return self.purchases.keys() - self.receipts().keys()

    def _person(self) -> Pubkey:
        return Keypair.from_seed(self.chance.randbytes(32)).pubkey()

    def _purchase(self) -> Purchase:
        people = self.chance.sample(self.creators, self.chance.randint(1, 12))
        cuts = sorted(self.chance.sample(range(1, 10_000), len(people) - 1))
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
        made = Purchase(
            self.chance.randbytes(16), self._person(),
            self.chance.choice([10_001, 1_234_567, self.chance.randint(10**4, 10**9)]),
            tuple(zip(people, shares, strict=True)), self.chance.randbytes(32),
            self.chance.randbytes(32),
        )  # fmt: skip
        self.purchases[made.identity] = made
        return made

    def _settle(self, purchases):
        """Send settlements into some slots, a few of them twice, which then fail."""
        key, recent = self.devnet.payer.pubkey(), self.devnet.blockhash()
        for made in purchases:
            call = settlement.settle_purchase(
                key, key, self.chance.choice(self.treasuries), self.usdc, made
            )
            for _ in range(1 + (self.chance.random() < 0.05)):
                limit = set_compute_unit_limit(300_000 + self.chance.randrange(99_999))
                signed = self.devnet.sign([limit, call], blockhash=recent)
                self.devnet.post(signed, skipPreflight=True)
            if self.chance.random() < 0.2:
                self.devnet.advance(self.chance.randint(1, 3))
                recent = self.devnet.blockhash()
        self.devnet.advance(3)

    def _change_fee(self):
        fee = FEES[self.rounds // 3 % len(FEES)]
        key = self.devnet.payer.pubkey()
        chosen = settlement.Settings(key, fee)
        self.devnet.send(settlement.configure(key, self.usdc, chosen))

    def _follow_through_faults(self):
        before = Counter(self.devnet.call("devnet_faults"))
        self.devnet.fault(
            seed=self.chance.getrandbits(32), share=self.chance.choice(SHARES),
            kinds=FAULTS, lag=40,
        )  # fmt: skip
        for kind in FAULTS:
            listed = kind in ("shuffle", "empty", "filter")
            self.devnet.fault(
                kind=kind, lag=20, bytes=40, seed=self.rounds,
                method="getSignaturesForAddress" if listed else "getTransaction",
                skip=self.chance.randint(0, 9),
            )  # fmt: skip
        if self.rounds % 2 == 0:
            self.devnet.fault(
                kind="fork", depth=self.chance.randint(1, 20), keep=0.7,
                method="getTransaction", skip=self.chance.randint(0, 9),
            )  # fmt: skip
        self._follow()
        self.devnet.clear()
        self.met += Counter(self.devnet.call("devnet_faults")) - before

    def _follow(self):
        start = {bytes(settlement.PROGRAM): 0}
        tokens = dict.fromkeys(map(bytes, self._accounts()), 0)
        programs = [
            FollowedProgram(e.program, start, [e.PurchaseSettled, e.ConfigChanged]),
            FollowedProgram(Tokens(), tokens, [TokenMoved]),
        ]

        async def run():
            async with following(
                self.engine, [self.url], registry=REGISTRY, programs=programs
            ) as chain:
                seen = []
                for _ in range(STEPS):
                    try:
                        seen.append(await step(chain))
                    except Retryable as error:
                        seen.append(error)
                    if isinstance(seen[-1], CaughtUp):
                        return
                    if isinstance(seen[-1], Behind | Retryable):
                        self.devnet.advance(1)  # a chain that was forked grows again
            raise AssertionError(f"round {self.rounds}: never caught up: {seen[-9:]}")

        asyncio.run(run())

    def _accounts(self):
        return [
            *self.treasuries,
            *(associated(each, self.usdc) for each in self.creators[:FOLLOWED]),
        ]

    def receipts(self):
        """What the program's own accounts say, by purchase."""
        config = {
            "encoding": "base64", "commitment": "confirmed",
            "filters": [{"memcmp": {
                "offset": 0, "encoding": "base64",
                "bytes": base64.b64encode(settlement.discriminator("Receipt")).decode(),
            }}],
        }  # fmt: skip
        found = {}
        for each in self.devnet.call(
            "getProgramAccounts", str(settlement.PROGRAM), config
        ):
            receipt = settlement.read_receipt(
                base64.b64decode(each["account"]["data"][0])
            )
            assert each["pubkey"] == str(receipt_address(receipt.purchase_id))
            found[receipt.purchase_id] = receipt
        return found

    def held(self, account):
        """What a token account holds, by the chain."""
        asked = str(account), {"commitment": "confirmed"}
        found = self.devnet.call("getTokenAccountBalance", *asked)
        return int(found["value"]["amount"])

    def wrong(self):
        """Whatever of the index is not what the chain's accounts say."""
        receipts, found = self.receipts(), []
        rows = self._rows("SELECT * FROM public.settlements")
        if len(rows) != len(receipts) or len(rows) != len(self.purchases):
            found.append(f"{len(rows)} rows of {len(receipts)} receipts")
        outflow, paid = Counter(), Counter()
        for row in rows:
            receipt = receipts.get(bytes.fromhex(row.purchase[2:]))
            indexed = (row.buyer, int(row.amount), int(row.outflow), row.payment_hash,
                       row.metadata_hash)  # fmt: skip
            if receipt is None or indexed != (
                str(receipt.buyer), receipt.amount, receipt.paid,
                f"0x{receipt.payment_hash.hex()}", f"0x{receipt.metadata_hash.hex()}",
            ):  # fmt: skip
                found.append(f"purchase {row.purchase}")
            outflow[row.treasury] += int(row.outflow)
            for payout in row.payouts:
                paid[payout["recipient"]] += int(payout["amount"])
        for each in self.treasuries:
            if self.held(each) != 10**16 - outflow[str(each)]:
                found.append(f"treasury {each}")
        for each in self.creators:
            if self.held(associated(each, self.usdc)) != paid[str(each)]:
                found.append(f"creator {each}")
        moved = {
            row.account: int(row.amount)
            for row in self._rows(
                "SELECT account, sum(amount) AS amount FROM public.tokens_token_moved"
                " GROUP BY account"
            )
        }
        found += [
            f"movements of {each}"
            for each in self._accounts()
            if moved.get(str(each), 0) != self.held(each)
        ]
        with self.engine.connect() as connection:
            found += [str(each) for each in problems(connection, REGISTRY)]
        return found

    def _rows(self, query):
        with self.engine.connect() as connection:
            return connection.execute(text(query)).all()
