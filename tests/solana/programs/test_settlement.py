"""A purchase is settled whole, once, and to the micro-USDC."""

from __future__ import annotations

import struct

import pytest
from solders.address_lookup_table_account import ID as ADDRESS_LOOKUP_TABLE
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from devnet.solana import ledger, settlement
from devnet.solana.client import associated
from devnet.solana.settlement import BASIS_POINTS, NFT_TOKEN
from helpers.settling import Town, reference, self_calls, token_account

PACKET_BYTES = 1_232
WIDE = set_compute_unit_limit(settlement.UNITS_MAX)
# Distributable, platform, and what 50, 30 and 20 % of the pool are, in micro-USDC.
GOLDEN = [
    (974_000, 97_400, (438_300, 262_980, 175_320)),
    (2_974_000, 297_400, (1_338_300, 802_980, 535_320)),
    (4_974_000, 497_400, (2_238_300, 1_342_980, 895_320)),
    (9_974_000, 997_400, (4_488_300, 2_692_980, 1_795_320)),
    (19_974_000, 1_997_400, (8_988_300, 5_392_980, 3_595_320)),
]


def parted(count: int) -> list[int]:
    """Uneven basis points for so many recipients."""
    weights = [3 + 7 * n % 11 for n in range(count)]
    points = [BASIS_POINTS * weight // sum(weights) for weight in weights]
    return [points[0] + BASIS_POINTS - sum(points), *points[1:]]


@pytest.mark.parametrize(("amount", "fee", "paid"), GOLDEN)
def test_money_is_shared_as_reckoned_by_hand(amount, fee, paid):
    town = Town(amount).initialized()
    purchase = town.purchase(5_000, 3_000, 2_000, distributable=amount)
    before = town.amount(town.treasury)

    done, sent = town.done(town.settle(purchase))

    owners = [owner for owner, _ in purchase.shares]
    assert list(paid) == [town.held(owner) for owner in owners]
    assert before - sum(paid) == town.amount(town.treasury)
    [data] = self_calls(done, sent)
    event = settlement.read_settled(data)
    assert (fee, 0) == (event.platform_fee, event.dust)
    assert [(owner, share, each) for (owner, share), each in
            zip(purchase.shares, paid, strict=True)] == [
        (each.recipient, each.share_bps, each.amount) for each in event.payouts
    ]  # fmt: skip


@pytest.mark.parametrize("count", range(1, 13))
def test_one_to_twelve_are_paid_in_one_transaction(count):
    town = Town(count, fee_bps=737).initialized()
    purchase = town.purchase(*parted(count))
    before = town.amount(town.treasury)

    done, sent = town.done(WIDE, town.settle(purchase))

    shares = [share for _, share in purchase.shares]
    fee, paid, dust = reference(purchase.distributable, 737, shares)
    assert paid == [town.held(owner) for owner, _ in purchase.shares]
    assert before - sum(paid) == town.amount(town.treasury)
    [data] = self_calls(done, sent)
    event = settlement.read_settled(data)
    mint = settlement.mint_address(purchase.identity)
    assert event == settlement.Settled(
        purchase.identity, purchase.buyer, mint, town.treasury, purchase.distributable,
        fee, 737, dust, purchase.payment_hash, purchase.metadata_hash,
        tuple(settlement.Payout(owner, each, share) for (owner, share), each in
              zip(purchase.shares, paid, strict=True)),
    )  # fmt: skip
    receipt = town.vm.get_account(settlement.receipt_address(purchase.identity))
    assert settlement.PROGRAM == receipt.owner
    clock = town.vm.get_clock()
    assert settlement.read_receipt(bytes(receipt.data)) == settlement.Receipt(
        purchase.identity, purchase.buyer, purchase.distributable, sum(paid), 737,
        count, Pubkey.find_program_address([b"receipt", purchase.identity],
        settlement.PROGRAM)[1], clock.slot, clock.unix_timestamp,
        purchase.payment_hash, purchase.metadata_hash, purchase.terms(737, town.usdc),
    )  # fmt: skip
    assert len(bytes(sent)) == 839 + 35 * (count - 1)
    assert done.compute_units_consumed() < settlement.UNITS_MAX


def test_twelve_fit_with_a_price_when_the_treasury_authority_pays():
    town = Town(12).initialized()
    purchase = town.purchase(*parted(12))
    price = set_compute_unit_price(12_345)

    two = town.sign(WIDE, price, town.settle(purchase))
    assert len(bytes(two)) == PACKET_BYTES + 4  # another payer: eleven, or a table
    town.payer = town.authority
    one = town.sign(WIDE, price, town.settle(purchase))
    assert len(bytes(one)) == 1_140
    done = town.vm.send_transaction(one)
    assert not isinstance(done, FailedTransactionMetadata)


def test_a_lookup_table_makes_room_for_another_payer():
    """The accounts that every settlement names are in a table of the chain."""
    town = Town(14).initialized()
    purchase = town.purchase(*parted(12))
    call = town.settle(purchase)
    fixed = [call.accounts[place].pubkey for place in (2, 3, 4, *range(9, 14))]
    table = AddressLookupTableAccount(town.person().pubkey(), fixed)
    head = struct.pack("<IQQBB32sH", 1, 2**64 - 1, 0, 0, 0, bytes(32), 0)
    keys = b"".join(map(bytes, fixed))
    town.put(table.key, head + keys, ADDRESS_LOOKUP_TABLE)
    town.vm.warp_to_slot(17)
    calls = [WIDE, set_compute_unit_price(12_345), call]
    message = MessageV0.try_compile(
        town.payer.pubkey(), calls, [table], town.vm.latest_blockhash()
    )

    sent = VersionedTransaction(message, [town.payer, town.authority])
    done = town.vm.send_transaction(sent)

    assert not isinstance(done, FailedTransactionMetadata), done
    assert len(bytes(sent)) == 1_024
    assert town.held(purchase.shares[11][0]) > 0


def test_the_buyer_has_an_nft_that_nobody_can_change():
    town = Town(3).initialized()
    purchase = town.purchase(10_000)
    lamports = town.vm.get_balance(town.payer.pubkey())

    town.done(town.settle(purchase))

    mint = settlement.mint_address(purchase.identity)
    account = town.vm.get_account(mint)
    data = bytes(account.data)
    assert NFT_TOKEN == account.owner
    # No authority to mint, a supply of one, no decimals, initialised, no freezing.
    assert struct.unpack_from("<I32xQBBI", data) == (0, 1, 0, 1, 0)
    kinds = dict(extensions(data[166:]))
    assert kinds[18] == bytes(32) + bytes(mint)  # MetadataPointer: no authority
    name = f"Édition #{purchase.identity[:4].hex()}"
    uri = f"https://e.example/m/{purchase.metadata_hash.hex()}.json"
    texts = b"".join(
        struct.pack("<I", len(text.encode())) + text.encode()
        for text in (name, "ED", uri)
    )
    # TokenMetadata: no update authority, the mint, three texts, no other fields.
    assert kinds[19] == bytes(32) + bytes(mint) + texts + bytes(4)
    held = town.vm.get_account(settlement.nft_account(purchase.buyer, mint))
    assert NFT_TOKEN == held.owner
    assert bytes(held.data)[:72] == bytes(mint) + bytes(purchase.buyer) + struct.pack(
        "<Q", 1
    )
    # Each account holds its rent and no more; the payer paid for nothing else.
    receipt = town.vm.get_account(settlement.receipt_address(purchase.identity))
    made = [account, held, receipt]
    assert [town.vm.minimum_balance_for_rent_exemption(len(bytes(each.data)))
            for each in made] == [each.lamports for each in made]  # fmt: skip
    spent = lamports - town.vm.get_balance(town.payer.pubkey())
    assert spent == sum(each.lamports for each in made) + 2 * 5_000


def extensions(data: bytes):
    """The extensions of a Token-2022 account: type, and value."""
    while len(data) >= 4:
        kind, size = struct.unpack_from("<HH", data)
        yield kind, data[4 : 4 + size]
        data = data[4 + size :]


def test_any_usdc_account_of_the_treasury_authority_pays():
    town = Town(4).initialized()
    other = town.put(
        town.person().pubkey(),
        token_account(town.usdc, town.authority.pubkey(), 5_000_000),
    )
    purchase = town.purchase(6_001, 3_999, distributable=1_234_567)

    town.done(town.settle(purchase, treasury=other))

    fee, paid, dust = reference(1_234_567, 1_000, [6_001, 3_999])
    assert dust > 0
    assert town.amount(other) == 5_000_000 - sum(paid)


def test_the_treasury_need_hold_only_what_is_paid():
    town = Town(5).initialized()
    purchase = town.purchase(3_333, 6_667, distributable=1_000_001)
    _, paid, _ = reference(1_000_001, 1_000, [3_333, 6_667])

    town.give(town.authority.pubkey(), sum(paid) - 1)
    assert town.refusal(town.settle(purchase)) == "TreasuryTooLow"
    town.give(town.authority.pubkey(), sum(paid))
    town.done(town.settle(purchase))
    assert town.amount(town.treasury) == 0


def test_lamports_sent_ahead_hinder_no_settlement():
    town = Town(6).initialized()
    purchase = town.purchase(10_000)
    mint = settlement.mint_address(purchase.identity)
    for lamports, key in (
        (890_880, settlement.receipt_address(purchase.identity)),
        (7_000_001, mint),
        (1_234_567, settlement.nft_account(purchase.buyer, mint)),
    ):
        town.vm.airdrop(key, lamports)

    town.done(town.settle(purchase))

    assert town.data(settlement.receipt_address(purchase.identity))


def test_a_settled_purchase_is_not_settled_again():
    town = Town(7).initialized()
    purchase = town.purchase(7_000, 3_000)
    call = town.settle(purchase)
    town.done(call)
    held = town.snapshot(call)

    assert town.refusal(call) == "AlreadySettled"
    # The fee rate is not the caller's: another one makes no other terms.
    lower = settlement.Settings(town.authority.pubkey(), 250)
    town.done(settlement.configure(town.admin.pubkey(), town.usdc, lower))
    assert town.refusal(call) == "AlreadySettled"
    held[settlement.config_address()] = town.snapshot(call)[settlement.config_address()]
    # Nor is what became of the recipients and the treasury since.
    for owner, _ in purchase.shares:
        account = associated(owner, town.usdc)
        town.put(account, b"", Pubkey.default())
        held[account] = town.snapshot(call)[account]
    town.give(town.authority.pubkey(), 0)
    held[town.treasury] = town.snapshot(call)[town.treasury]
    assert town.refusal(call) == "AlreadySettled"
    assert held == town.snapshot(call)


@pytest.mark.parametrize(
    "other",
    [
        {"distributable": 5_000_001},
        {"payment_hash": b"\x5a" + bytes(31)},
        {"metadata_hash": b"\xa5" + bytes(31)},
        {"buyer": Pubkey.new_unique()},
        {"points": (6_999, 3_001)},
        {"points": (10_000,)},
        {"swapped": True},
    ],
    ids=str,
)
def test_other_terms_are_told_from_the_same(other):
    town = Town(8).initialized()
    purchase = town.purchase(7_000, 3_000, distributable=5_000_000)
    town.done(town.settle(purchase))
    changed = dict(other)
    owners = [owner for owner, _ in purchase.shares]
    if changed.pop("swapped", False):
        changed["shares"] = tuple(zip(owners[::-1], (7_000, 3_000), strict=True))
    if "points" in changed:
        points = changed.pop("points")
        changed["shares"] = tuple(zip(owners, points, strict=False))
    same = {name: getattr(purchase, name) for name in purchase.__slots__}
    again = settlement.Purchase(**{**same, **changed})

    call = town.settle(again)
    before = town.snapshot(call)

    assert town.refusal(call) == "SettledDifferently"
    assert before == town.snapshot(call)


def test_a_cut_log_takes_no_event():
    town = Town(9).initialized()
    purchase = town.purchase(2_500, 7_500)

    done, sent = town.done(
        set_compute_unit_limit(600_000), ledger.spam(400, 30), town.settle(purchase)
    )

    assert "Log truncated" in done.logs()
    [data] = self_calls(done, sent)
    assert purchase.identity == settlement.read_settled(data).purchase_id


def test_nothing_remains_of_what_is_cut_off_at_any_moment():
    """The units end after each call in turn; the last limit lets it through."""
    town = Town(10).initialized()
    purchase = town.purchase(*parted(4))
    call = town.settle(purchase)
    before, reached = town.snapshot(call), set()

    for limit in range(9_000, settlement.UNITS_MAX, 3_500):
        done, _ = town.send(set_compute_unit_limit(limit), call)
        if not isinstance(done, FailedTransactionMetadata):
            break
        reached.add(sum(map(len, done.meta().inner_instructions())))
        assert before == town.snapshot(call), limit

    assert len(reached) > 10
    assert town.held(purchase.shares[3][0]) > 0


def test_nothing_remains_when_the_payer_cannot_pay_the_rent():
    town = Town(11).initialized()
    purchase = town.purchase(10_000)
    poor = town.person()
    town.keys[poor.pubkey()] = poor
    town.vm.airdrop(poor.pubkey(), 4_000_000)
    call = town.settle(purchase, payer=poor.pubkey())
    before = town.snapshot(call)

    assert town.refusal(call) == "1"  # the system program's word for it
    assert before == town.snapshot(call)


def test_the_client_names_the_accounts_as_the_idl_does():
    """Flags and fixed addresses, for every instruction."""
    town = Town(13)
    admin, key = town.admin.pubkey(), town.deployer.pubkey()
    made = {
        "initialize": town.initialize(),
        "configure": settlement.configure(admin, town.usdc, town.settings),
        "propose_admin": settlement.propose_admin(admin, key),
        "accept_admin": settlement.accept_admin(key),
        "settle_purchase": town.settle(town.purchase(10_000)),
    }
    for told in settlement.interface("settlement")["instructions"]:
        call = made.pop(told["name"])
        extra = 1 if told["name"] == "settle_purchase" else 0
        assert len(call.accounts) == len(told["accounts"]) + extra
        for meta, named in zip(call.accounts, told["accounts"], strict=False):
            assert meta.is_signer == named.get("signer", False), named
            assert meta.is_writable == named.get("writable", False), named
            assert str(meta.pubkey) == named.get("address", str(meta.pubkey)), named
    assert not made
