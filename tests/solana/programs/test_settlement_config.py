"""Who may configure the program, and with what."""

from __future__ import annotations

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.solana import ledger, settlement
from devnet.solana.client import LOADER
from devnet.solana.settlement import NOBODY, Settings
from helpers.settling import Town, flagged, self_calls, token_mint, with_account

CONFIG, USDC, PROGRAM_DATA = 2, 3, 4


@pytest.fixture
def town() -> Town:
    return Town(31)


def config(town: Town) -> settlement.Config:
    return settlement.read_config(town.data(settlement.config_address()))


def told(done, sent) -> settlement.Config:
    """What the event says, which is the account's body without its room to grow."""
    [data] = self_calls(done, sent)
    assert data[:8] == settlement.EVENT_CALL_TAG
    assert data[8:16] == settlement.discriminator("ConfigChanged")
    body = settlement.discriminator("Config") + data[16:]
    found = settlement.read_config(body)
    assert len(data) == 8 + 8 + 64 + 32 + len(found.settings.encode())
    return found


def test_a_configuration_is_made_once(town):
    done, sent = town.done(town.initialize())

    wanted = settlement.Config(town.admin.pubkey(), NOBODY, town.usdc, town.settings)
    assert wanted == config(town) == told(done, sent)
    account = town.vm.get_account(settlement.config_address())
    assert settlement.PROGRAM == account.owner
    size = len(bytes(account.data))
    assert town.vm.minimum_balance_for_rent_exemption(size) == account.lamports
    assert town.refusal(town.initialize()) == "AlreadyInitialized"


def test_only_who_may_upgrade_the_program_initializes_it(town):
    """Else whoever sees the deployment first could choose the treasury."""
    thief = town.person()
    town.keys[thief.pubkey()] = thief
    town.vm.airdrop(thief.pubkey(), 10**10)
    stolen = town.initialize(upgrade_authority=thief.pubkey(), admin=thief.pubkey())

    assert town.refusal(stolen) == "NotUpgradeAuthority"
    # Nor with program data of the thief's own: of the loader, at another address.
    fake = town.put(Keypair().pubkey(), town.data(settlement.program_data()), LOADER)
    good = town.initialize()
    assert town.refusal(with_account(good, PROGRAM_DATA, fake)) == (
        "NotUpgradeAuthority"
    )
    unsigned = flagged(good, 0, signer=False)
    assert town.refusal(unsigned) == "AccountNotSigner"
    assert town.refusal(flagged(good, 1, signer=False)) == "AccountNotSigner"


def test_a_program_that_nobody_may_upgrade_is_not_initialized(town):
    town.own_program(None)
    assert town.refusal(town.initialize()) == "NotUpgradeAuthority"

    town.own_program(town.deployer.pubkey())
    data = town.data(settlement.program_data())
    town.put(settlement.program_data(), data, ledger.PROGRAM)
    assert town.refusal(town.initialize()) == "NotUpgradeAuthority"
    buffer, nobody = b"\1" + data[1:], data[:12] + b"\0" + data[13:]
    for wrong in (b"\3\0\0\0", buffer, nobody):
        town.put(settlement.program_data(), wrong, LOADER)
        assert town.refusal(town.initialize()) == "NotUpgradeAuthority"
    town.put(settlement.program_data(), data[:44], LOADER)
    assert town.refusal(town.initialize()) == "NotUpgradeAuthority"


def test_lamports_sent_ahead_hinder_no_configuration(town):
    town.vm.airdrop(settlement.config_address(), 900_001)

    town.done(town.initialize())

    assert config(town).settings == town.settings


def test_the_admin_changes_everything_but_who_is_admin(town):
    town.initialized()
    other = town.mint()
    wanted = Settings(town.person().pubkey(), 10_000, "x" * 22, "y", "z" * 128)
    shorter = Settings(NOBODY, 0, "名", "é", "z")

    for settings in (wanted, shorter):
        change = settlement.configure(town.admin.pubkey(), other, settings)
        done, sent = town.done(change)
        assert config(town) == told(done, sent) == settlement.Config(
            town.admin.pubkey(), NOBODY, other, settings
        )  # fmt: skip
    used = 8 + 64 + 32 + len(shorter.encode())
    data = town.data(settlement.config_address())
    assert data[used:] == bytes(len(data) - used)


def test_nobody_settles_while_the_treasury_authority_is_nobody(town):
    town.initialized()
    paused = settlement.Settings(NOBODY, 1_000)
    town.done(settlement.configure(town.admin.pubkey(), town.usdc, paused))

    call = town.settle(town.purchase(10_000))

    assert town.refusal(call) == "NotTreasuryAuthority"


def test_nobody_else_configures(town):
    town.initialized()
    for other in (town.deployer, town.authority, town.payer):
        key = other.pubkey()
        for call in (
            settlement.configure(key, town.usdc, town.settings),
            settlement.propose_admin(key, key),
        ):
            assert town.refusal(call) == "NotAdmin"
    call = settlement.configure(town.admin.pubkey(), town.usdc, town.settings)
    assert town.refusal(flagged(call, 0, signer=False)) == "AccountNotSigner"
    call = ledger.relay(flagged(call, 1, writable=False))
    assert town.refusal(call) == "ConstraintMut"


def test_the_admin_hands_over_in_two_steps(town):
    town.initialized()
    heir, other = town.person(), town.person()
    for each in (heir, other):
        town.keys[each.pubkey()] = each
    propose = settlement.propose_admin(town.admin.pubkey(), heir.pubkey())

    accept = settlement.accept_admin(heir.pubkey())
    assert town.refusal(accept) == "NotPendingAdmin"
    done, sent = town.done(propose)
    assert told(done, sent).pending_admin == heir.pubkey()
    assert config(town).admin == town.admin.pubkey()  # until it is accepted
    assert town.refusal(settlement.accept_admin(other.pubkey())) == "NotPendingAdmin"
    assert town.refusal(flagged(accept, 0, signer=False)) == "AccountNotSigner"
    town.done(settlement.propose_admin(town.admin.pubkey(), NOBODY))
    assert town.refusal(accept) == "NotPendingAdmin"
    town.done(propose)
    done, sent = town.done(accept)

    wanted = settlement.Config(heir.pubkey(), NOBODY, town.usdc, town.settings)
    assert wanted == config(town) == told(done, sent)
    assert town.refusal(propose) == "NotAdmin"
    assert town.refusal(accept) == "NotPendingAdmin"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"fee_bps": 10_001}, "FeeTooHigh"),
        ({"fee_bps": 65_535}, "FeeTooHigh"),
        ({"name": ""}, "WrongText"),
        ({"name": "x" * 23}, "WrongText"),
        ({"symbol": ""}, "WrongText"),
        ({"symbol": "x" * 11}, "WrongText"),
        ({"uri_base": ""}, "WrongText"),
        ({"uri_base": "x" * 129}, "WrongText"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(town, changed, name):
    settings = Settings(**{"treasury_authority": town.authority.pubkey(), **changed})

    assert town.refusal(town.initialize(settings=settings)) == name
    assert town.vm.get_account(settlement.config_address()) is None
    town.initialized()
    call = settlement.configure(town.admin.pubkey(), town.usdc, settings)
    assert town.refusal(call) == name
    assert config(town).settings == town.settings


# What RFC 3629 says is no UTF-8, and what is on the edges of what is.
@pytest.mark.parametrize(
    "text",
    [
        b"\x80", b"\xc1\xbf", b"\xc3", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xe2\x82",
        b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"ab\xff",
        b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xed\x9f\xbf", b"\xee\x80\x80",
        b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xe2\x82\xac5", b"\x00",
    ],
    ids=bytes.hex,
)  # fmt: skip
def test_texts_are_utf8_as_python_reads_it(town, text):
    town.initialized()
    call = settlement.configure(town.admin.pubkey(), town.usdc, town.settings)
    data = bytes(call.data)
    name = town.settings.name.encode()
    at = data.index(name) - 4
    rest = data[at + 4 + len(name) :]
    changed = data[:at] + len(text).to_bytes(4, "little") + text + rest
    call = Instruction(call.program_id, changed, call.accounts)

    try:
        wanted = text.decode()
    except UnicodeDecodeError:
        assert town.refusal(call) == "WrongText"
    else:
        town.done(call)
        assert config(town).settings.name == wanted


def test_mints_that_cannot_be_usdc(town):
    bank = town.bank.pubkey()
    wrong = [
        town.mint(9),
        town.put(Keypair().pubkey(), token_mint(bank), ledger.PROGRAM),
        town.put(Keypair().pubkey(), token_mint(bank) + b"\0"),
        town.put(Keypair().pubkey(), bytes(82)),
        town.put(Keypair().pubkey(), bytes(44) + bytes([6]) + bytes(37)),
        town.treasury,
        Pubkey.new_unique(),
    ]
    for mint in wrong:
        assert town.refusal(town.initialize(usdc=mint)) == "NotUsdc"
    town.initialized()
    for mint in wrong:
        call = settlement.configure(town.admin.pubkey(), mint, town.settings)
        assert town.refusal(call) == "NotUsdc"


def test_arguments_that_are_cut_or_too_long(town):
    town.initialized()
    admin = town.admin.pubkey()
    heir = town.person()
    town.keys[heir.pubkey()] = heir
    town.done(settlement.propose_admin(admin, heir.pubkey()))
    for call in (
        settlement.configure(admin, town.usdc, town.settings),
        settlement.propose_admin(admin, heir.pubkey()),
        settlement.accept_admin(heir.pubkey()),
    ):
        data = bytes(call.data)
        for wrong in [*(data[:n] for n in range(8, len(data))), data + b"\0"]:
            changed = Instruction(call.program_id, wrong, call.accounts)
            assert town.refusal(changed) == "InstructionDidNotDeserialize"


def test_foreign_accounts(town):
    first = town.initialize()
    for place, name in (
        (CONFIG, "ConstraintSeeds"),
        (5, "InvalidProgramId"),
        (6, "ConstraintSeeds"),
        (7, "InvalidProgramId"),
    ):
        changed = with_account(first, place, Keypair().pubkey())
        assert town.refusal(changed) == name
    assert (
        town.refusal(settlement.propose_admin(town.admin.pubkey(), NOBODY))
        == "AccountNotInitialized"
    )
    town.initialized()
    call = settlement.configure(town.admin.pubkey(), town.usdc, town.settings)
    copied = town.put(
        Keypair().pubkey(), town.data(settlement.config_address()), ledger.PROGRAM
    )
    for place, key, name in (
        (1, copied, "AccountOwnedByWrongProgram"),
        (3, Keypair().pubkey(), "ConstraintSeeds"),
        (4, Keypair().pubkey(), "InvalidProgramId"),
    ):
        assert town.refusal(with_account(call, place, key)) == name
    for count in range(len(call.accounts)):
        fewer = Instruction(call.program_id, call.data, call.accounts[:count])
        assert town.refusal(fewer) == "AccountNotEnoughKeys"
