"""Why a transaction fails: the program that said so, and the word that it meant."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey as Key

from commands.solana.errors import SHOWN, Failure, custom_code, explain_failure
from db.declare.solana.call import Invoke
from idl import load_builtin, parse_idl

PROGRAM, OTHER = (hashlib.sha256(name).digest() for name in (b"shop", b"other"))
TEXT, OTHER_TEXT = (str(Key.from_bytes(each)) for each in (PROGRAM, OTHER))
SYSTEM = "1" * 32
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
ASSOCIATED = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
SHOP = Invoke("shop.pay", idl=parse_idl(json.dumps({
    "address": TEXT,
    "metadata": {"name": "shop", "version": "1.0.0", "spec": "0.1.0"},
    "instructions": [
        {"name": "pay", "discriminator": [1] * 8, "accounts": [], "args": []}
    ],
    "errors": [
        {"code": 6000, "name": "SoldOut", "msg": "Nothing is left."},
        {"code": 6001, "name": "Closed"},
        {"code": 1, "name": "Late", "msg": "x" * 1000},
    ],
}).encode())).bind("Pay", {}, {})  # fmt: skip


def custom(code, at=2):
    return {"InstructionError": [at, {"Custom": code}]}


def calls(*programs, says=(), code="0x1"):
    """The logs of programs, each called by the one before; the last one fails."""
    opened = [f"Program {each} invoke [{n}]" for n, each in enumerate(programs, 1)]
    failed = f"failed: custom program error: {code}"
    closed = [f"Program {each} {failed}" for each in reversed(programs)]
    return [*opened, *(f"Program log: {line}" for line in says), *closed]


def explain(error, logs=(), call=SHOP):
    return explain_failure(call, PROGRAM, error, logs)


def test_an_error_of_the_program_has_its_name_and_its_words():
    logs = calls(TEXT, says=["AnchorError occurred. Error Code: SoldOut."])

    assert explain(custom(6000), logs) == Failure(
        "SoldOut", "SoldOut: Nothing is left."
    )
    assert explain(custom(6001), logs) == Failure("Closed", "Closed")
    assert explain(custom(6000)) == explain(custom(6000), logs)  # no logs at all


def test_what_is_long_is_cut():
    assert len(explain(custom(1)).reason) == SHOWN
    logged = calls(TEXT, says=["y" * 5000])
    assert len(explain(custom(6009), logged).reason) == SHOWN
    inner = explain({"InstructionError": [0, "z" * 5000]}, logged)
    assert len(inner.name) == SHOWN
    assert len(inner.reason) <= 2 * SHOWN + 2


def test_a_code_that_the_idl_does_not_know_is_told_with_the_last_words():
    found = explain(custom(6009), calls(TEXT, says=["first", "Error: last words"]))

    assert found.name == "Custom(6009)"
    assert found.reason == f"the program {TEXT} fails with code 6009: last words"


def test_another_program_s_code_is_not_looked_up_in_the_idl():
    """The innermost program that failed gave the code; its callers pass it on."""
    logs = calls(TEXT, OTHER_TEXT, says=["from below"])

    found = explain(custom(6000), logs)

    assert found.name == "Custom(6000)"
    assert found.reason == f"the program {OTHER_TEXT} fails with code 6000: from below"


def test_without_a_call_the_code_has_no_name():
    assert explain(custom(6000), calls(TEXT), call=None).name == "Custom(6000)"


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_errors_of_the_token_programs_have_the_names_of_their_idl(program):
    known = load_builtin("token").errors
    assert len(known) == 20

    for code, error in known.items():
        found = explain(custom(code), calls(TEXT, program))
        who = "the token program" if program == TOKEN else "the Token-2022 program"
        assert found == Failure(error.name, f"{who} says {error.name}")
    for code in (20, 6000, -1):
        found = explain(custom(code), calls(TEXT, program))
        assert found.name == f"Custom({code})"


def test_the_associated_token_program_is_no_token_program():
    """Its code 0 is InvalidOwner, and not the token program's NotRentExempt."""
    assert load_builtin("associated_token").errors[0].name == "InvalidOwner"

    found = explain(custom(0), calls(TEXT, ASSOCIATED))

    assert found.name == "Custom(0)"
    assert found.reason == "the associated token program fails with code 0"


def test_the_system_program_is_named():
    found = explain(custom(1), calls(SYSTEM))

    assert found.reason == "the system program fails with code 1"
    assert not found.unpaid


@pytest.mark.parametrize(
    "error",
    [
        "AccountNotFound", "InsufficientFundsForFee",
        {"InsufficientFundsForRent": {"account_index": 0}},
    ],
    ids=str,
)  # fmt: skip
def test_a_payer_who_cannot_pay_says_nothing_about_the_call(error):
    found = explain(error)

    assert found.unpaid
    assert found.reason.startswith("the payer has no lamports for it: ")
    assert found.name in str(error)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("BlockhashNotFound", "BlockhashNotFound"),
        (
            {"InstructionError": [0, "ProgramFailedToComplete"]},
            "ProgramFailedToComplete",
        ),
        ({"InstructionError": [0, {"BorshIoError": "Unknown"}]}, "BorshIoError"),
        ({"InstructionError": [0]}, "InstructionError"),
        ({"InstructionError": None}, "InstructionError"),
        ({"InstructionError": {"0": 1}}, "InstructionError"),
        ({"DuplicateInstruction": 2}, "DuplicateInstruction"),
        ({}, "{}"),
        (None, "None"),
        ([], "[]"),
        (7, "7"),
    ],
    ids=str,
)
def test_errors_that_are_no_program_s_own_keep_their_names(error, name):
    logs = ["Program log: Error: said before"]

    assert explain(error).name == name
    assert explain(error) == Failure(name, name)
    assert explain(error, logs).reason == f"{name}: said before"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (custom(0), 0),
        (custom(6000, at=0), 6000),
        (custom("6000"), None),
        (custom(None), None),
        (custom([1]), None),
        ({"InstructionError": [2, "InvalidAccountData"]}, None),
        ({"InstructionError": [2]}, None),
        ({"InstructionError": 2}, None),
        ("AccountNotFound", None),
        (None, None),
        ([[1, {"Custom": 1}]], None),
    ],
    ids=str,
)
def test_the_code_of_an_error(error, code):
    assert custom_code(error) == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["InstructionError", "Custom", "AccountNotFound", "x"]),
        inner, max_size=3,
    ),
)  # fmt: skip
LINES = st.lists(
    st.text(max_size=60)
    | st.sampled_from([*calls(TEXT, TOKEN, says=["a", "Error: b"]), "Program log: "])
)


@given(JSON, LINES)
def test_whatever_a_node_answers_is_told_in_few_words(error, logs):
    found = explain(error, logs)

    assert isinstance(found.name, str)
    assert isinstance(found.reason, str)
    assert len(found.reason) <= 3 * SHOWN
