"""Instructions that other people's libraries encode are read as they were meant."""

from __future__ import annotations

import pytest
import solders.system_program as system
import spl.token.instructions as token
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from spl.memo.instructions import MemoParams, create_memo

from helpers.builtin import called, encoded
from idl import BUILTIN, IdlError, load_builtin
from idl.base58 import to_base58
from idl.parse import builtins

MEMO_V1 = "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"
TOKENS = {
    "token": Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"),
    "token_2022": Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"),
}
KEYS = st.binary(min_size=32, max_size=32).map(Pubkey.from_bytes)
U64 = st.integers(0, 2**64 - 1)
U8 = st.integers(0, 255)
# What can be stored: no text of Postgres has a zero character.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
KINDS = {
    "lamports": U64, "space": U64, "amount": U64, "decimals": U8, "seed": TEXT,
    "from_seed": TEXT, "m": st.integers(1, 11),
    "freeze_authority": st.none() | KEYS, "new_authority": st.none() | KEYS,
    "signers": st.lists(KEYS, max_size=4), "multi_signers": st.lists(KEYS, max_size=4),
}  # fmt: skip

# Each instruction of a library: its name in the IDL, and what its parameters are there.
SYSTEM = {
    "create_account": ("create_account", {
        "from_pubkey": "payer", "to_pubkey": "new_account", "lamports": "lamports",
        "space": "space", "owner": "owner"}),
    "assign": ("assign", {"pubkey": "account", "owner": "owner"}),
    "transfer": ("transfer", {
        "from_pubkey": "source", "to_pubkey": "destination", "lamports": "lamports"}),
    "create_account_with_seed": ("create_account_with_seed", {
        "from_pubkey": "payer", "to_pubkey": "new_account", "base": "base",
        "seed": "seed", "lamports": "lamports", "space": "space", "owner": "owner"}),
    "advance_nonce_account": ("advance_nonce_account", {
        "nonce_pubkey": "nonce_account", "authorized_pubkey": "nonce_authority"}),
    "withdraw_nonce_account": ("withdraw_nonce_account", {
        "nonce_pubkey": "nonce_account", "authorized_pubkey": "nonce_authority",
        "to_pubkey": "recipient", "lamports": "lamports"}),
    "initialize_nonce_account": ("initialize_nonce_account", {
        "nonce_pubkey": "nonce_account", "authority": "nonce_authority"}),
    "authorize_nonce_account": ("authorize_nonce_account", {
        "nonce_pubkey": "nonce_account", "authorized_pubkey": "nonce_authority",
        "new_authority": "new_nonce_authority"}),
    "allocate": ("allocate", {"pubkey": "account", "space": "space"}),
    "allocate_with_seed": ("allocate_with_seed", {
        "address": "account", "base": "base", "seed": "seed", "space": "space",
        "owner": "owner"}),
    "assign_with_seed": ("assign_with_seed", {
        "address": "account", "base": "base", "seed": "seed", "owner": "owner"}),
    "transfer_with_seed": ("transfer_with_seed", {
        "from_pubkey": "source", "from_base": "base_account",
        "from_seed": "source_seed", "from_owner": "source_owner",
        "to_pubkey": "destination", "lamports": "lamports"}),
}  # fmt: skip
CHECKED = {"amount": "amount", "decimals": "decimals", "signers": "signers"}
PLAIN = {"amount": "amount", "signers": "signers"}
TOKEN = {
    "initialize_mint": ("InitializeMint", {
        "decimals": "decimals", "mint": "mint", "mint_authority": "mint_authority",
        "freeze_authority": "freeze_authority"}),
    "initialize_account": ("InitializeAccount", {
        "account": "account", "mint": "mint", "owner": "owner"}),
    "initialize_multisig": ("InitializeMultisig", {
        "multisig": "multisig", "m": "m", "signers": "signers"}),
    "transfer": ("Transfer", {
        "source": "source", "dest": "destination", "owner": "authority", **PLAIN}),
    "approve": ("Approve", {
        "source": "source", "delegate": "delegate", "owner": "owner", **PLAIN}),
    "revoke": ("Revoke", {
        "account": "source", "owner": "owner", "signers": "signers"}),
    "set_authority": ("SetAuthority", {
        "account": "owned", "authority": "authority_type",
        "current_authority": "owner", "new_authority": "new_authority",
        "signers": "signers"}),
    "mint_to": ("MintTo", {
        "mint": "mint", "dest": "account", "mint_authority": "mint_authority",
        **PLAIN}),
    "burn": ("Burn", {
        "account": "account", "mint": "mint", "owner": "authority", **PLAIN}),
    "close_account": ("CloseAccount", {
        "account": "account", "dest": "destination", "owner": "owner",
        "signers": "signers"}),
    "freeze_account": ("FreezeAccount", {
        "account": "account", "mint": "mint", "authority": "freeze_authority",
        "multi_signers": "signers"}),
    "thaw_account": ("ThawAccount", {
        "account": "account", "mint": "mint", "authority": "freeze_authority",
        "multi_signers": "signers"}),
    "transfer_checked": ("TransferChecked", {
        "source": "source", "mint": "mint", "dest": "destination",
        "owner": "authority", **CHECKED}),
    "approve_checked": ("ApproveChecked", {
        "source": "source", "mint": "mint", "delegate": "delegate", "owner": "owner",
        **CHECKED}),
    "mint_to_checked": ("MintToChecked", {
        "mint": "mint", "dest": "account", "mint_authority": "mint_authority",
        **CHECKED}),
    "burn_checked": ("BurnChecked", {
        "mint": "mint", "account": "account", "owner": "authority", **CHECKED}),
    "sync_native": ("SyncNative", {"account": "account"}),
}  # fmt: skip
AUTHORITIES = {
    token.AuthorityType.MINT_TOKENS: "MintTokens",
    token.AuthorityType.FREEZE_ACCOUNT: "FreezeAccount",
    token.AuthorityType.ACCOUNT_OWNER: "AccountOwner",
    token.AuthorityType.CLOSE_ACCOUNT: "CloseAccount",
}


def drawn(data, params, **others):
    """A value for each parameter; keys where nothing else is said."""
    kinds = KINDS | others
    return {name: data.draw(kinds.get(name, KEYS), name) for name in params}


def in_terms_of_the_idl(given, names):
    """What a call must be read as: keys as text, absent ones as None."""
    return {names[name]: plain(value) for name, value in given.items()}


def plain(value):
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, Pubkey):
        return str(value)
    return AUTHORITIES[value] if isinstance(value, token.AuthorityType) else value


def check(program, name, instruction, expected, exact=True):
    """An instruction is read as expected, and what was read gives the same bytes."""
    found = called(program, instruction)
    read = {**found.accounts, **found.arguments}

    assert found.name == name
    assert {key: read[key] for key in expected} == expected
    again = encoded(program, found)
    assert instruction.data.startswith(again)
    assert again == instruction.data or not exact


@pytest.mark.parametrize("function", SYSTEM)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_system_program_as_solders_encodes_it(function, data):
    name, names = SYSTEM[function]
    given = drawn(data, names, new_authority=KEYS)

    check("system", name, getattr(system, function)(given),
          in_terms_of_the_idl(given, names))  # fmt: skip


def test_all_that_solders_encodes_for_the_system_program_is_tried():
    """Those of lookup tables are of another program; two make several instructions."""
    made = {name for name in dir(system) if name[0].islower()} - {"annotations", "cast"}
    made = {name for name in made if not name.startswith("decode_")}
    many = {"create_nonce_account", "create_nonce_account_with_seed", "transfer_many"}

    assert {n for n in made if "lookup_table" not in n} - many == set(SYSTEM)


@settings(max_examples=60, deadline=None)
@given(KEYS, KEYS, KEYS, TEXT, U64)
def test_a_base_that_does_not_pay_is_named(payer, base, created, seed, lamports):
    given = {"from_pubkey": payer, "to_pubkey": created, "base": base, "seed": seed,
             "lamports": lamports, "space": 1, "owner": created}  # fmt: skip

    found = called("system", system.create_account_with_seed(given))
    own = called("system", system.create_account_with_seed(given | {"base": payer}))

    assert found.accounts["base_account"] == str(base)
    assert own.accounts["base_account"] is None or own.arguments["base"] == str(payer)


@pytest.mark.parametrize("program", TOKENS)
@pytest.mark.parametrize("name", TOKEN)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_token_programs_as_their_python_client_encodes_them(name, program, data):
    params, names = TOKEN[name]
    kinds = {"authority": st.sampled_from(list(AUTHORITIES))} if "set_" in name else {}
    given = drawn(data, names, **kinds)
    made = getattr(token, f"{params}Params")(program_id=TOKENS[program], **given)
    if name == "initialize_multisig":
        given["signers"] = list(made.signers)

    # This client writes zeroes where an absent key would be.
    expected = in_terms_of_the_idl(given, names)
    exact = None not in given.values()
    check(program, name, getattr(token, name)(made), expected, exact)


def test_all_that_the_python_client_encodes_is_tried():
    made = {name for name in dir(token) if name[0].islower()}
    made = {n for n in made if not n.startswith(("decode_", "validate_", "get_"))}

    assert {name for name in made if "associated" not in name} == set(TOKEN)


@pytest.mark.parametrize("program", TOKENS)
@given(KEYS, KEYS, KEYS)
def test_associated_accounts_as_the_python_client_makes_them(
    program, payer, owner, mint
):
    expected = {
        "payer": str(payer), "owner": str(owner), "mint": str(mint),
        "associated_account": str(
            token.get_associated_token_address(owner, mint, TOKENS[program])
        ),
        "token_program": str(TOKENS[program]),
    }  # fmt: skip
    make = token.create_associated_token_account
    again = token.create_idempotent_associated_token_account
    bare = make(payer, owner, mint, TOKENS[program])
    said = Instruction(bare.program_id, b"\0", bare.accounts)

    check("associated_token", "create", said, expected)
    check("associated_token", "create_idempotent",
          again(payer, owner, mint, TOKENS[program]), expected)  # fmt: skip
    # This client sends no data at all, as when there was no other instruction.
    assert bare.data == b""
    assert called("associated_token", bare) == called("associated_token", said)


@pytest.mark.parametrize("program", ["memo", "memo_v1"])
@given(KEYS, TEXT)
def test_memos_as_the_python_client_makes_them(program, signer, text):
    address = Pubkey.from_bytes(load_builtin(program).address)
    made = create_memo(MemoParams(address, signer, text.encode()))

    check(program, "memo", made, {"text": text, "signers": [str(signer)]})


def marks_of(found):
    """The letters of texts that were mended, and numbers that are none."""
    for value in found.arguments.values():
        yield from (value, *(value if isinstance(value, str) else ()))


@given(st.sampled_from(builtins()), st.binary(max_size=80), st.integers(0, 6))
def test_whatever_the_bytes_are_they_are_read_or_refused(program, data, count):
    address = Pubkey.from_bytes(load_builtin(program).address)
    keys = [AccountMeta(Pubkey.from_bytes(bytes([n]) * 32), False, False)
            for n in range(count)]  # fmt: skip
    instruction = Instruction(address, data, keys)

    found = called(program, instruction)

    if found is not None and not {"\ufffd", "nan"} & set(map(str, marks_of(found))):
        bare = b"" if data else b"\0"  # no data at all is what one byte says
        assert (data or bare).startswith(encoded(program, found))
        named = [key for key in found.accounts.values() if isinstance(key, str)]
        assert named == [str(each.pubkey) for each in keys[: len(named)]]


def test_the_addresses_are_those_of_the_libraries():
    from spl.memo.constants import MEMO_PROGRAM_ID
    from spl.token import constants

    known = {
        "system": system.ID, "token": constants.TOKEN_PROGRAM_ID,
        "token_2022": constants.TOKEN_2022_PROGRAM_ID,
        "associated_token": constants.ASSOCIATED_TOKEN_PROGRAM_ID,
        "memo": MEMO_PROGRAM_ID, "memo_v1": Pubkey.from_string(MEMO_V1),
    }  # fmt: skip

    assert {name: to_base58(load_builtin(name).address) for name in builtins()} == {
        name: str(key) for name, key in known.items()
    }


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(IdlError, match=f"{BUILTIN}tokens.*write one of .*token"):
        load_builtin("tokens")
