"""The demonstration's shop: the program, USDC, a treasury, and a fakestripe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from solders.pubkey import Pubkey

from devnet.solana import settlement
from devnet.solana.client import UPGRADER, Client, associated
from devnet.stripe.run import FakeStripe
from devnet.stripe.service import KEY
from devnet.stripe.webhooks import SECRET

TREASURY = 5_000 * 10**6  # micro-USDC
KEY_FILE = "stripe.key"  # the API's process reads it too
SECRET_FILE = "stripe.webhooks"  # noqa: S105 - a file: what webhooks are signed with
WEBHOOKS = "/api/v1/checkout/webhook"
TREASURY_KEY = "DEMO_TREASURY_KEY"

_SECTIONS = """
[signers.treasury]
chain = "solana"
kind = "env"
env = "{treasury_key}"
address = "{address}"
tokens_per_day = {{ "{usdc}" = {treasury} }}

[stripe]
secret_key_file = "{key_file}"
webhook_secret_file = "{secret_file}"
api = "{stripe}"
success_url = "{base}/docs"
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """Holds the program, USDC and treasury; `client` pays from the treasury."""

    client: Client
    usdc: Pubkey
    treasury: Pubkey
    stripe_url: str

    def chain_settings(self) -> str:
        """The lines of the chain's section that name the program and its accounts."""
        return (
            f'programs.settlement = "{settlement.PROGRAM}"\n'
            f'accounts.usdc = "{self.usdc}"\n'
            f'accounts.treasury = "{self.treasury}"\n'
            f'tokens.treasury = "{self.treasury}"\n'
        )

    def settings(self, folder: Path, base: str) -> str:
        """The sections of its signer and its payments; `base` is the API's address.

        fakestripe's key and secret, which are public, are put into the folder.
        """
        (folder / KEY_FILE).write_text(KEY)
        (folder / SECRET_FILE).write_text(SECRET)
        return _SECTIONS.format(
            treasury_key=TREASURY_KEY, address=self.client.payer.pubkey(),
            usdc=self.usdc, treasury=TREASURY, key_file=KEY_FILE,
            secret_file=SECRET_FILE, stripe=self.stripe_url, base=base,
        )  # fmt: skip

    def secrets(self) -> dict[str, str]:
        """The treasury's key, by the variable that its settings name."""
        return {TREASURY_KEY: str(self.client.payer)}

    def open_wallet(self, owner: Pubkey) -> None:
        """Make somebody's account for USDC, as wallets do when they are opened."""
        self.client.make_account(self.usdc, owner)

    def held(self, owner: Pubkey) -> int:
        """Return the micro-USDC that somebody holds, by the chain."""
        account = str(associated(owner, self.usdc))
        found = self.client.call(
            "getTokenAccountBalance", account, {"commitment": "confirmed"}
        )
        return int(found["value"]["amount"])


@contextmanager
def open_shop(url: str, base: str, *, seed: int) -> Iterator[Shop]:
    """Configure the program on a development node; end the fakestripe afterwards.

    `base` is the API's address: the URIs of NFTs begin with it, and webhooks go there.
    """
    client = Client(url)
    client.fund()
    client.fund(UPGRADER.pubkey())
    key = client.payer.pubkey()
    usdc = client.make_mint(6)
    treasury = client.make_account(usdc, key)
    client.mint_to(usdc, treasury, TREASURY)
    chosen = settlement.Settings(key, uri_base=f"{base}/metadata/")
    client.send(
        settlement.initialize(UPGRADER.pubkey(), key, usdc, chosen), signers=[UPGRADER]
    )
    with FakeStripe(seed=seed, live=True, webhook_url=base + WEBHOOKS) as stripe:
        yield Shop(client, usdc, treasury, stripe.url)
