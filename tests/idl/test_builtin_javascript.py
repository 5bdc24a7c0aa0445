"""Instructions that Solana's JavaScript client encodes are read as they were meant."""

from __future__ import annotations

import json
import subprocess

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from devnet.toolchain import node_command
from helpers.builtin import called, encoded
from helpers.npm import NpmUnavailable, install
from idl import load_builtin
from test_architecture import ROOT

HOME = ROOT / "tests" / "solana" / "javascript"
TIMES = 25
# What this client does not encode, or not as one instruction of these programs.
UNTRIED = {
    "createExecuteInstruction",  # of a transfer hook's program
    "createTransferCheckedWithFeeAndTransferHookInstruction",  # asks a node
    "createTransferCheckedWithTransferHookInstruction",  # asks a node
}
NOT_ENCODED = {
    "token": {"initialize_multisig2", "get_account_data_size", "batch",
              "withdraw_excess_lamports"},
    "token_2022": {"initialize_multisig2", "get_account_data_size", "batch",
                   "withdraw_excess_lamports"},
    "associated_token": set(),
}  # fmt: skip


@pytest.fixture(scope="module")
def told():
    """What the client encodes, and the names of what it was not asked for."""
    try:
        install(HOME)
    except NpmUnavailable as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [*node_command(), "encode.cjs", "seed", str(TIMES)], cwd=HOME, check=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    *lines, last = map(json.loads, done.stdout.splitlines())
    return lines, last["untried"]


def test_every_instruction_is_read_as_it_was_meant(told):
    for each in told[0]:
        program, expected = each["program"], each["expected"]
        keys = [AccountMeta(Pubkey.from_string(key), False, False)
                for key in each["keys"]]  # fmt: skip
        address = Pubkey.from_string(each["address"])
        data = bytes.fromhex(each["data"])

        found = called(program, Instruction(address, data, keys))

        assert found is not None, each
        assert bytes(address) == load_builtin(program).address
        read = as_text({**found.accounts, **found.arguments})
        assert (found.name, {name: read[name] for name in expected}) == (
            each["name"], as_text(expected),
        )  # fmt: skip
        again = encoded(program, found) if data else b""
        # Some of its instructions have room for a key that is absent.
        assert data.startswith(again)
        assert not data[len(again) :].strip(b"\0")


def as_text(value):
    """Numbers as text, and variants that carry something as JSON."""
    if isinstance(value, dict) and value.keys() == {"Key"}:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, dict):
        return {name: as_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_text(each) for each in value]
    if isinstance(value, (int, float)):
        return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
    return value


def test_all_that_it_encodes_was_tried(told):
    assert set(told[1]) == UNTRIED
    for program, missing in NOT_ENCODED.items():
        names = {each["name"] for each in told[0] if each["program"] == program}
        known = {each.name for each in load_builtin(program).instructions}
        assert known - names == missing
