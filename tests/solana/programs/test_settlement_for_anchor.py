"""A client of the Anchor framework reads what the program writes, by its old IDL."""

from __future__ import annotations

from anchorpy.coder.coder import Coder
from anchorpy_core.idl import Idl

from devnet.solana import settlement
from helpers.settling import Town, self_calls
from test_architecture import ROOT

ANCHOR = Coder(Idl.from_json((ROOT / "idl" / "settlement.legacy.json").read_text()))


def test_the_event_is_anchor_s():
    town = Town(41, fee_bps=333).initialized()
    purchase = town.purchase(1_234, 5_678, 3_088)
    done, sent = town.done(town.settle(purchase))
    [data] = self_calls(done, sent)
    ours = settlement.read_settled(data)

    told = ANCHOR.events.parse(data[8:])

    assert told.name == "PurchaseSettled"
    read = told.data
    assert (read.purchase_id, read.payment_hash, read.metadata_hash) == tuple(
        map(list, (purchase.identity, purchase.payment_hash, purchase.metadata_hash))
    )
    assert (read.buyer, read.mint, read.treasury) == (
        ours.buyer, ours.mint, ours.treasury
    )  # fmt: skip
    assert (read.amount, read.platform_fee, read.fee_bps, read.dust) == (
        ours.amount, ours.platform_fee, 333, ours.dust
    )  # fmt: skip
    assert [(each.recipient, each.amount, each.share_bps) for each in read.payouts] == [
        (each.recipient, each.amount, each.share_bps) for each in ours.payouts
    ]


def test_the_accounts_are_anchor_s():
    town = Town(42).initialized()
    purchase = town.purchase(9_999, 1)
    town.done(town.settle(purchase))
    receipt = town.data(settlement.receipt_address(purchase.identity))
    config = town.data(settlement.config_address())

    kept = ANCHOR.accounts.parse(receipt).data
    chosen = ANCHOR.accounts.parse(config).data

    assert bytes(kept.terms) == purchase.terms(1_000, town.usdc)
    assert (kept.buyer, kept.amount, kept.recipients) == (
        purchase.buyer, purchase.distributable, 2
    )  # fmt: skip
    assert (chosen.admin, chosen.usdc_mint, chosen.name, chosen.uri_base) == (
        town.admin.pubkey(), town.usdc, "Édition", "https://e.example/m/"
    )  # fmt: skip


def test_the_arguments_are_anchor_s():
    town = Town(43)
    purchase, settings = town.purchase(2_500, 7_500), town.settings
    configuring = settlement.configure(town.admin.pubkey(), town.usdc, settings)

    settled = ANCHOR.instruction.parse(bytes(town.settle(purchase).data))
    configured = ANCHOR.instruction.parse(bytes(configuring.data))

    assert settled.name == "settle_purchase"
    told = settled.data
    assert (bytes(told.purchase_id), told.distributable, list(told.shares)) == (
        purchase.identity, purchase.distributable, [2_500, 7_500]
    )  # fmt: skip
    assert (bytes(told.payment_hash), bytes(told.metadata_hash)) == (
        purchase.payment_hash, purchase.metadata_hash
    )  # fmt: skip
    assert configured.name == "configure"
    assert vars(configured.data.settings) == {
        name: getattr(settings, name) for name in settings.__slots__
    }
    assert ANCHOR.instruction.build(settled) == bytes(town.settle(purchase).data)
