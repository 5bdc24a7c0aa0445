"""The demonstration's second tour: a card is charged, and creators are paid on chain.

A creator publishes a chapter and shares it with two others; a buyer pays by card at
fakestripe. What follows nobody asks for: the payment is read from Stripe, a reaction
asks for the settlement, and one Solana transaction mints the buyer's NFT and pays the
creators from the treasury.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.request import urlopen

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from examples.person import WAIT_SECONDS, Json, Person
from examples.settlement.shop import Shop
from ops.errors import OperationError

CONTENT = "chapter-7"
PRICE = 1_000  # cents
SHARES = (("writer", 5_000), ("illustrator", 3_000), ("translator", 2_000))
MICRO = 10**6
SALE_SECONDS = 10.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Sale:
    """People of the tour: creators with wallets, and a buyer."""

    base: str
    shop: Shop
    operator: Person
    stop: threading.Event
    say: Say
    wallets: list[Pubkey] = field(default_factory=list)
    buyer: Person | None = None
    metadata_hash: str = ""

    def run(self) -> None:
        """Publish, sell one copy, and print what became of the money."""
        started = time.monotonic()
        self._publish()
        self._show(self._sell())
        self.say(f"the sale took {time.monotonic() - started:.1f} s")

    def go_on(self) -> None:
        """Sell a copy now and then, until told to stop."""
        while not self.stop.wait(SALE_SECONDS):
            self._sell()

    def _publish(self) -> None:
        creators = [
            newcomer(self.base, f"{name}-{secrets.token_hex(4)}@example.org", "creator")
            for name, _ in SHARES
        ]
        document = json.dumps(
            {"name": "Chapter 7", "symbol": "FOLD", "description": "Roasting at home"}
        )
        self.metadata_hash = hashlib.sha256(document.encode()).hexdigest()
        author = creators[0]
        author.ask(
            "/contents", content=CONTENT, account=account_of(author), kind="chapter",
            title="Chapter 7", price=str(PRICE), stock="0", metadata=document,
            metadata_hash=f"0x{self.metadata_hash}",
        )  # fmt: skip
        for creator, (_, share) in zip(creators, SHARES, strict=True):
            wallet = Keypair().pubkey()
            self.shop.open_wallet(wallet)
            self.wallets.append(wallet)
            account = account_of(creator)
            author.ask(
                "/commands/offer-share", content=CONTENT, collaborator=account,
                share=str(share),
            )  # fmt: skip
            creator.ask(
                "/commands/accept-share", content=CONTENT, collaborator=account,
                wallet=str(wallet),
            )  # fmt: skip
        names = ", ".join(f"{share / 100:g} % for the {name}" for name, share in SHARES)
        self.say(f"  a chapter is for sale at {PRICE / 100:.2f} dollars: {names}")

    def _sell(self) -> Json:
        """Sell a copy to a new wallet; returns the row of its settlement."""
        if self.buyer is None:
            login = f"buyer-{secrets.token_hex(4)}@example.org"
            self.buyer = newcomer(self.base, login, "buyer")
        wallet = Keypair().pubkey()
        body = {"content": CONTENT, "wallet": str(wallet)}
        session: Json = self.buyer.post("/checkout/session", body)["data"]
        with urlopen(session["url"], timeout=WAIT_SECONDS) as page:  # noqa: S310 - ours
            page.read()
        deadline = time.monotonic() + WAIT_SECONDS
        path = f"/settlements?purchase={session['purchase']}"
        while not (found := self.operator.get(path)["data"]):
            if time.monotonic() > deadline:
                raise OperationError("the purchase is not settled in time")
            if self.stop.wait(0.2):
                raise OperationError("it was stopped before the purchase was settled")
        return {**session, **found[0]}

    def _show(self, sold: Json) -> None:
        self.say(
            f"  the buyer paid {sold['total'] / 100:.2f} dollars by card; settled in "
            f"{sold['settled_in'][:16]}…, with the NFT {sold['mint'][:12]}…"
        )
        amount, fee = int(sold["amount"]), int(sold["platform_fee"])
        paid = [self.shop.held(wallet) for wallet in self.wallets]
        parts = ", ".join(
            f"{each / MICRO:.6f} to the {name}"
            for each, (name, _) in zip(paid, SHARES, strict=True)
        )
        self.say(
            f"  {amount / MICRO:.6f} USDC: {parts}, {fee / MICRO:.6f} kept as the fee"
        )
        found = self.operator.get("/admin/treasury")["data"]
        self.say(
            f"  the treasury holds {int(found['balance']) / MICRO:,.6f} USDC and is "
            f"{found['health']}"
        )


def newcomer(base: str, login: str, role: str) -> Person:
    """Open an account with a role that is open to everybody, and sign in."""
    person, password = Person(base, login), secrets.token_urlsafe(12)
    person.register(role, password)
    return person


def account_of(person: Person) -> str:
    """Return the id of a person's account."""
    return str(person.get("/auth/me")["account"])
