"""What a settlement refuses, by name, and that nothing has changed then."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.solana import ledger, settlement
from devnet.solana.client import SYSTEM, TOKEN, associated
from devnet.solana.settlement import NFT_TOKEN
from helpers.settling import Town, flagged, token_account, token_mint, with_account

# The places of the accounts of `settle_purchase`.
(
    PAYER, AUTHORITY, CONFIG, TREASURY, USDC, RECEIPT, MINT, BUYER, BUYER_ACCOUNT,
    TOKEN_AT, NFT_TOKEN_AT, ASSOCIATED_AT, SYSTEM_AT, EVENTS, PROGRAM_AT, RECIPIENT,
) = range(16)  # fmt: skip


@pytest.fixture
def town() -> Town:
    return Town(2_026).initialized()


def refused(town: Town, call: Instruction) -> str:
    """The name of the refusal, of a call that changes nothing."""
    before = town.snapshot(call)
    name = town.refusal(call)
    assert before == town.snapshot(call)
    return name


def of_token(data: bytes, *keys: tuple[Pubkey, bool, bool]) -> Instruction:
    return Instruction(TOKEN, data, [AccountMeta(*key) for key in keys])


@pytest.mark.parametrize(
    ("points", "name"),
    [
        ([], "SharesCount"),
        ([770] * 12 + [760], "SharesCount"),
        ([5_000, 4_999], "SharesSum"),
        ([5_000, 5_001], "SharesSum"),
        ([10_000, 0], "SharesSum"),
        ([65_535], "SharesSum"),
        # Twelve shares whose sum is 10,000 in sixteen bits alone.
        ([65_535, 10_001], "SharesSum"),
    ],
)
def test_shares_that_are_not_a_whole(town, points, name):
    given = tuple((town.somebody(), share) for share in points)

    assert refused(town, town.settle(town.purchase(shares=given))) == name


def test_shares_and_accounts_that_do_not_match_in_number(town):
    purchase = town.purchase(6_000, 4_000)
    call = town.settle(purchase)
    fewer = Instruction(call.program_id, call.data, call.accounts[:-1])
    more = AccountMeta(associated(town.somebody(), town.usdc), False, True)
    plus = Instruction(call.program_id, call.data, [*call.accounts, more])

    assert refused(town, fewer) == "SharesCount"
    assert refused(town, plus) == "SharesCount"
    short = Instruction(call.program_id, call.data, call.accounts[:PROGRAM_AT])
    assert refused(town, short) == "AccountNotEnoughKeys"


def test_more_accounts_than_any_call_has(town):
    call = town.settle(town.purchase(10_000))
    padded = [*call.accounts, *call.accounts, *call.accounts]
    many = Instruction(call.program_id, call.data, padded[:41])

    assert refused(town, many) == "InstructionErrorFieldless.InvalidArgument"


def test_nothing_to_share(town):
    call = town.settle(town.purchase(distributable=0))

    assert refused(town, call) == "AmountZero"


def test_arguments_that_are_cut_or_too_long(town):
    call = town.settle(town.purchase(6_000, 4_000))
    data = bytes(call.data)

    def changed(data: bytes) -> str:
        return refused(town, Instruction(call.program_id, data, call.accounts))

    assert {"InstructionDidNotDeserialize"} == {
        changed(data[:cut]) for cut in range(8, len(data))
    }
    assert changed(data + b"\0") == "InstructionDidNotDeserialize"
    huge = data[:-8] + struct.pack("<I", 2**31 + 2) + data[-4:]
    assert changed(huge) == "InstructionDidNotDeserialize"
    assert changed(data[:7]) == changed(b"") == "InstructionFallbackNotFound"
    assert changed(b"\xff" * len(data)) == "InstructionFallbackNotFound"


def test_somebody_else_s_signature_pays_nothing(town):
    thief = town.person()
    town.keys[thief.pubkey()] = thief
    own = town.give(thief.pubkey(), 10**9)
    purchase = town.purchase(10_000)

    by_thief = {"treasury_authority": thief.pubkey()}
    for treasury in (town.treasury, own):
        call = town.settle(purchase, treasury=treasury, **by_thief)
        assert refused(town, call) == "NotTreasuryAuthority"
    unsigned = flagged(town.settle(purchase), AUTHORITY, signer=False)
    assert refused(town, unsigned) == "AccountNotSigner"
    # The admin chooses who pays, and pays nothing.
    call = town.settle(purchase, treasury_authority=town.admin.pubkey())
    assert refused(town, call) == "NotTreasuryAuthority"


def test_a_treasury_authority_that_was_replaced_pays_nothing(town):
    purchase, heir = town.purchase(10_000), town.person()
    town.keys[heir.pubkey()] = heir
    settings = settlement.Settings(heir.pubkey(), 1_000)
    town.done(settlement.configure(town.admin.pubkey(), town.usdc, settings))

    assert refused(town, town.settle(purchase)) == "NotTreasuryAuthority"
    # Nor does the heir pay from what is another's.
    call = town.settle(purchase, treasury_authority=heir.pubkey())
    assert refused(town, call) == "NotTreasury"
    town.done(town.settle(purchase, treasury_authority=heir.pubkey(),
                          treasury=town.give(heir.pubkey(), 10**9)))  # fmt: skip


def test_paying_accounts_that_are_not_the_treasury_s(town):
    purchase, other = town.purchase(10_000), town.mint()
    authority, somebody = town.authority.pubkey(), town.person().pubkey()
    wrong = {
        "another mint's": token_account(other, authority, 10**9),
        "somebody's": token_account(town.usdc, somebody, 10**9),
        "frozen": token_account(town.usdc, authority, 10**9, state=2),
        "not initialised": token_account(town.usdc, authority, 10**9, state=0),
        "too short": token_account(town.usdc, authority, 10**9)[:-1],
        "too long": token_account(town.usdc, authority, 10**9) + b"\0",
        "empty": b"",
    }
    for what, data in wrong.items():
        key = town.put(Keypair().pubkey(), data)
        call = town.settle(purchase, treasury=key)
        assert refused(town, call) == "NotTreasury", what
    for owner in (ledger.PROGRAM, NFT_TOKEN, SYSTEM):
        data = token_account(town.usdc, authority, 10**9)
        key = town.put(Keypair().pubkey(), data, owner)
        call = town.settle(purchase, treasury=key)
        assert refused(town, call) == "NotTreasury", owner


def test_mints_that_are_not_usdc(town):
    purchase = town.purchase(10_000)
    other = town.mint()
    town.give(town.authority.pubkey(), 10**9, other)
    for owner, _ in purchase.shares:
        town.give(owner, 0, other)

    whole = town.settle(
        purchase, usdc=other, treasury=associated(town.authority.pubkey(), other)
    )
    assert refused(town, whole) == "NotUsdc"
    assert refused(town, with_account(town.settle(purchase), USDC, other)) == "NotUsdc"
    # The mint of the configuration, no more what it was.
    town.put(town.usdc, token_mint(town.bank.pubkey(), 9))
    assert refused(town, town.settle(purchase)) == "NotUsdc"


def test_accounts_that_are_no_recipient(town):
    owner, other = town.somebody(), town.mint()
    purchase = town.purchase(shares=((owner, 10_000),))
    call = town.settle(purchase)
    theirs = town.person().pubkey()
    loose = town.put(Keypair().pubkey(), token_account(town.usdc, owner))
    fake = token_account(town.usdc, theirs)
    wrong = {
        "at no associated address": loose,
        "of another mint": town.give(owner, 0, other),
        "a program's own": town.put(associated(theirs, town.usdc), fake, NFT_TOKEN),
        "a mint": town.usdc,
        "a wallet": owner,
        "nothing": Keypair().pubkey(),
        "the configuration": settlement.config_address(),
    }
    for what, key in wrong.items():
        changed = with_account(call, RECIPIENT, key)
        assert refused(town, changed) == "NotRecipient", what
    assert refused(town, flagged(call, RECIPIENT, writable=False)) == "ConstraintMut"


def test_an_account_that_was_given_away_is_not_paid(town):
    """Its address says whose it was; its data, whose it is."""
    owner, thief = town.person(), town.person()
    town.keys[owner.pubkey()] = owner
    account = town.give(owner.pubkey(), 0)
    purchase = town.purchase(shares=((owner.pubkey(), 10_000),))
    handed = bytes([6, 2, 1]) + bytes(thief.pubkey())  # SetAuthority, AccountOwner
    own = (owner.pubkey(), True, False)
    town.done(of_token(handed, (account, False, True), own))

    assert refused(town, town.settle(purchase)) == "NotRecipient"


def test_a_closed_account_is_not_paid(town):
    owner = town.person()
    town.keys[owner.pubkey()] = owner
    account = town.give(owner.pubkey(), 0)
    purchase = town.purchase(shares=((owner.pubkey(), 10_000),))
    own = (owner.pubkey(), True, False)
    town.done(of_token(b"\x09", (account, False, True), (town.usdc, False, True), own))

    assert refused(town, town.settle(purchase)) == "NotRecipient"


def test_a_frozen_account_is_not_paid(town):
    purchase = town.purchase(4_000, 6_000)
    account = associated(purchase.shares[1][0], town.usdc)
    bank = (town.bank.pubkey(), True, False)
    of = ((account, False, True), (town.usdc, False, False), bank)
    town.done(of_token(b"\x0a", *of))

    assert refused(town, town.settle(purchase)) == "RecipientFrozen"
    town.done(of_token(b"\x0b", *of))  # it thaws
    town.done(town.settle(purchase))


def test_nobody_is_named_twice(town):
    one, other = town.somebody(), town.somebody()
    shares = ((one, 3_000), (other, 4_000), (one, 3_000))

    call = town.settle(town.purchase(shares=shares))

    assert refused(town, call) == "RecipientRepeated"


def test_the_treasury_is_no_recipient(town):
    authority = town.authority.pubkey()
    purchase = town.purchase(shares=((town.somebody(), 1), (authority, 9_999)))
    loose = town.put(Keypair().pubkey(), token_account(town.usdc, authority, 10**12))

    assert refused(town, town.settle(purchase)) == "RecipientIsTreasury"
    call = town.settle(purchase, treasury=loose)
    assert refused(town, call) == "RecipientIsTreasury"


@pytest.mark.parametrize("place", [PAYER, TREASURY, RECEIPT, MINT, BUYER_ACCOUNT])
def test_accounts_that_cannot_be_written(town, place):
    call = town.settle(town.purchase(10_000), payer=town.bank.pubkey())

    assert refused(town, flagged(call, place, writable=False)) == "ConstraintMut"


def test_a_payer_that_does_not_sign(town):
    rich = town.person().pubkey()
    town.vm.airdrop(rich, 10**9)

    call = town.settle(town.purchase(10_000), payer=rich)

    assert refused(town, flagged(call, PAYER, signer=False)) == "AccountNotSigner"


def test_an_inner_call_settles_as_an_outer_one(town):
    purchase = town.purchase(10_000)

    town.done(ledger.relay(town.settle(purchase)))

    assert town.held(purchase.shares[0][0]) > 0


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (CONFIG, "AccountNotInitialized"),
        (RECEIPT, "ConstraintSeeds"),
        (MINT, "ConstraintSeeds"),
        (TOKEN_AT, "InvalidProgramId"),
        (NFT_TOKEN_AT, "InvalidProgramId"),
        (ASSOCIATED_AT, "InvalidProgramId"),
        (SYSTEM_AT, "InvalidProgramId"),
        (EVENTS, "ConstraintSeeds"),
        (PROGRAM_AT, "InvalidProgramId"),
    ],
)
def test_foreign_accounts(town, place, name):
    call = town.settle(town.purchase(10_000))

    assert refused(town, with_account(call, place, Keypair().pubkey())) == name


def test_a_configuration_that_only_looks_like_one(town):
    """Of another program, or another account of ours."""
    purchase = town.purchase(10_000)
    town.done(town.settle(purchase))
    call = town.settle(town.purchase(10_000))
    real = town.data(settlement.config_address())

    copied = town.put(Keypair().pubkey(), real, ledger.PROGRAM)
    assert refused(town, with_account(call, CONFIG, copied)) == (
        "AccountOwnedByWrongProgram"
    )
    receipt = settlement.receipt_address(purchase.identity)
    assert refused(town, with_account(call, CONFIG, receipt)) == (
        "AccountDiscriminatorMismatch"
    )


def test_no_account_can_stand_at_another_s_place(town):
    """Each account of a call, at each place of it."""
    purchase = town.purchase(6_000, 4_000)
    call = town.settle(purchase)
    keys = [each.pubkey for each in call.accounts]
    tried = 0

    for place in range(len(keys)):
        for key in dict.fromkeys([*keys, Keypair().pubkey()]):
            changed = with_account(call, place, key)
            may_pay = place == PAYER and key == keys[AUTHORITY]
            signs = changed.accounts[place].is_signer and key not in town.keys
            if key != keys[place] and not may_pay and not signs:
                town.refusal(changed)
                tried += 1

    assert tried > 250
    assert town.held(purchase.shares[0][0]) == 0
    assert town.vm.get_account(settlement.receipt_address(purchase.identity)) is None
    town.done(call)


def test_nobody_else_says_events_by_call(town):
    forged = settlement.EVENT_CALL_TAG + settlement.discriminator("PurchaseSettled")
    data = forged + bytes(206)
    signing = AccountMeta(town.payer.pubkey(), True, False)
    named = AccountMeta(settlement.event_authority(), False, False)

    for accounts, name in (
        ([signing], "ConstraintSeeds"),
        ([named], "AccountNotSigner"),
        ([], "AccountNotEnoughKeys"),
    ):
        call = Instruction(settlement.PROGRAM, data, accounts)
        assert town.refusal(call) == town.refusal(ledger.relay(call)) == name


def test_every_error_of_the_program_is_met_by_a_test():
    here = Path(__file__).parent.glob("test_settlement*.py")
    text = "".join(path.read_text() for path in here)
    told = settlement.interface("settlement")["errors"]

    assert [each["name"] for each in told if f'"{each["name"]}"' not in text] == []
