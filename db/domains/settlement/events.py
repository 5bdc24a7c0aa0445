"""Events of the program `settlement`."""

from db.declare import (
    Bytes32,
    Event,
    FixedBytes,
    Json,
    Program,
    Pubkey,
    Text,
    Uint,
)

program = Program("settlement")


class PurchaseSettled(Event):
    """A purchase was settled: an NFT for its buyer, USDC for its creators.

    Amounts are in micro-USDC; `amount` is the platform's fee, the dust and the payouts.
    `treasury` is the account that paid.
    """

    source = program
    purchase = FixedBytes(16, param="purchase_id")
    buyer = Pubkey()
    mint = Pubkey()
    treasury = Pubkey()
    amount = Uint(64)
    platform_fee = Uint(64)
    fee_points = Uint(16, param="fee_bps")
    dust = Uint(64)
    payment_hash = Bytes32()
    metadata_hash = Bytes32()
    payouts = Json()


class ConfigChanged(Event):
    """The program's configuration is another one."""

    source = program
    admin = Pubkey()
    pending_admin = Pubkey()
    treasury_authority = Pubkey()
    usdc_mint = Pubkey()
    fee_points = Uint(16, param="fee_bps")
    collection = Text(param="name")
    symbol = Text()
    uri_base = Text()
