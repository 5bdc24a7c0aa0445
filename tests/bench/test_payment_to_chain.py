"""Prints how long a card payment takes to become a transaction, beside a bare script.

From the webhook that tells of a payment to the node being handed the transaction: the
same proxies note both moments for both, with Stripe and the node here and as far away
as they are in production. The product runs as it is installed, with Postgres, its
journal and its API; the bare script keeps nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
import stripe
from solders.keypair import Keypair

from bench.witness import Witness
from devnet.solana.run import NodeOptions, SolanaNode
from devnet.stripe.service import KEY
from examples.settlement.shop import TREASURY_KEY, open_shop
from examples.settlement.tour import account_of, newcomer
from helpers.processes import Group, live, wait_until
from ops.ports import free_port

pytestmark = pytest.mark.bench
PURCHASES = 20  # of each turn; the bare script has two
PRICE = 1_000  # cents
DISTRIBUTABLE = PRICE * 10_000 - 26_000
SHARES = (5_000, 3_000, 2_000)
WAIT_SECONDS = 30.0
SETTINGS = """
domains = ["settlement"]

[chains.solana]
id = "solana:{genesis}"
rpc = "{rpc}"
finality = "commitment"
{accounts}
{more}
[api]
port = {port}
[database]
url = "{database}"
[redis]
url = "none"
[metrics]
port = {metrics}
"""


class Street:
    """A node, a shop at fakestripe, and the proxies in front of node and API."""

    def __init__(self, rpc, door, shop):
        self.rpc, self.door, self.shop = rpc, door, shop
        self.wallets = [Keypair().pubkey() for _ in SHARES]
        for wallet in self.wallets:
            shop.open_wallet(wallet)
        self.stripe = stripe.StripeClient(KEY, base_addresses={"api": shop.stripe_url})

    def seconds(self, purchase, pay):
        """Pay, and return the seconds from the webhook to the transaction."""
        with urlopen(pay) as page:
            page.read()
        identity = bytes.fromhex(purchase[2:])
        deadline = time.monotonic() + WAIT_SECONDS
        while (sent := self.sent(identity)) is None:
            assert time.monotonic() < deadline, "the transaction did not come"
            time.sleep(0.01)
        told = self.door.first(b"checkout.session.completed", purchase.encode())
        return sent - told

    def sent(self, identity):
        """When the node was handed the transaction of a purchase."""
        for at, _, body in reversed(self.rpc.seen):
            if b"sendTransaction" not in body:
                continue
            said = json.loads(body)
            for each in said if isinstance(said, list) else [said]:
                if each["method"] == "sendTransaction":
                    raw = base64.b64decode(each["params"][0])
                    if identity in raw:
                        return at
        return None

    def bare_session(self):
        """A session of no domain of ours: its purchase, and where it is paid."""
        purchase = f"0x{secrets.token_hex(16)}"
        said = {
            "domain": "bare",
            "purchase": purchase,
            "buyer": str(Keypair().pubkey()),
        }
        price = {"currency": "usd", "unit_amount": 1061, "product_data": {"name": "x"}}
        made = self.stripe.v1.checkout.sessions.create({
            "mode": "payment", "metadata": said, "success_url": "https://s.example.org",
            "payment_intent_data": {"metadata": said},
            "line_items": [{"quantity": 1, "price_data": price}],
        })  # fmt: skip
        return purchase, made.url


@contextlib.contextmanager
def bare(street, folder):
    """Run the bare script behind the proxy of webhooks."""
    key, terms, port = folder / "key", folder / "terms", free_port()
    key.write_text(str(street.shop.client.payer))
    people = [str(each) for each in street.wallets]
    terms.write_text(json.dumps({
        "shares": list(zip(people, SHARES, strict=True)),
        "distributable": DISTRIBUTABLE, "usdc": str(street.shop.usdc),
        "treasury": str(street.shop.treasury),
    }))  # fmt: skip
    words = [port, street.shop.stripe_url, street.rpc.url, key, terms]
    script, root = (
        Path(__file__).with_name("bare_settlement.py"),
        Path(__file__).parents[2],
    )
    process = subprocess.Popen(
        [sys.executable, script, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    street.door.target = f"http://127.0.0.1:{port}"
    try:
        time.sleep(3)  # it imports
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def product(street, folder, genesis, database):
    """Run the product behind it, with a content for sale; yields a buyer."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    settings = SETTINGS.format(
        genesis=genesis, rpc=street.rpc.url, port=port, metrics=free_port(),
        accounts=street.shop.chain_settings(), database=database,
        more=street.shop.settings(folder, street.door.url),
    )  # fmt: skip
    (folder / "chainfold.toml").write_text(settings)
    street.door.target = base
    group = Group(folder, "run", "--migrate")
    try:
        wait_until(lambda: live(port), 60, group)
        publish(base, street.wallets)
        yield newcomer(base, "buyer@example.org", "buyer")
    finally:
        group.end()


def publish(base, wallets):
    """Put a chapter up for sale that three creators share."""
    creators = [
        newcomer(base, f"creator-{number}@example.org", "creator")
        for number in range(len(wallets))
    ]
    document = json.dumps({"name": "Chapter 9"})
    creators[0].ask(
        "/contents", content="chapter-9", account=account_of(creators[0]),
        kind="chapter", title="Chapter 9", price=str(PRICE), stock="0",
        metadata=document,
        metadata_hash=f"0x{hashlib.sha256(document.encode()).hexdigest()}",
    )  # fmt: skip
    for creator, wallet, share in zip(creators, wallets, SHARES, strict=True):
        said = {"content": "chapter-9", "collaborator": account_of(creator)}
        creators[0].ask("/commands/offer-share", **said, share=str(share))
        creator.ask("/commands/accept-share", **said, wallet=str(wallet))


def buy(buyer):
    """A session of the product: its purchase, and where it is paid."""
    body = {"content": "chapter-9", "wallet": str(Keypair().pubkey())}
    session = buyer.post("/checkout/session", body)["data"]
    return session["purchase"], session["url"]


@pytest.fixture(params=[(0.0, 0.0), (0.15, 0.04)], ids=["near", "far"])
def street(monkeypatch, request):
    """With how many seconds Stripe and the node are away."""
    to_stripe, to_node = request.param
    with (
        SolanaNode(NodeOptions(seed=9)) as node,
        Witness(node.url, away=to_node) as rpc,
        Witness() as door,
        open_shop(node.url, door.url, seed=9) as shop,
        Witness(shop.stripe_url, away=to_stripe) as money,
    ):
        monkeypatch.setenv(TREASURY_KEY, shop.secrets()[TREASURY_KEY])
        yield Street(rpc, door, replace(shop, stripe_url=money.url))


def test_from_the_payment_to_the_transaction(street, tmp_path, database_url, request):
    genesis = str(street.shop.client.call("getGenesisHash"))[:32]
    took = {"bare": [], "product": []}

    def bare_turn():
        with bare(street, tmp_path):
            found = [street.seconds(*street.bare_session()) for _ in range(PURCHASES)]
            took["bare"] += found[1:]  # the first opens connections

    bare_turn()
    with product(street, tmp_path, genesis, database_url) as buyer:
        took["product"] = [street.seconds(*buy(buyer)) for _ in range(2 * PURCHASES)][
            1:
        ]
    bare_turn()

    where = request.node.callspec.id
    print(f"\n{where}, from webhook to transaction, ms: median, p99, most")
    for name, found in took.items():
        cuts = statistics.quantiles(found, n=100)
        print(
            f"{name:8} {1e3 * statistics.median(found):7.1f} {1e3 * cuts[98]:7.1f} "
            f"{1e3 * max(found):7.1f}"
        )
    medians = {name: statistics.median(found) for name, found in took.items()}
    print(f"product / bare: {medians['product'] / medians['bare']:.2f}")
