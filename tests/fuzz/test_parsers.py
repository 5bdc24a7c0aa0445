"""What others wrote, mutated at random: a parser takes it, or refuses it in its words.

CHAINFOLD_FUZZ_SECONDS for each target (`make fuzz` takes ten minutes), and
CHAINFOLD_FUZZ_SEED to begin elsewhere; a failure names the seed that shows it again.
"""

import json
import os
import random
import time

import pytest
import rlp
from eth_account import Account

from abis import load_abi
from commands.errors import BadTransaction, SigningRefused
from commands.evm.encode import explain_revert
from commands.evm.raw import RLP_DEPTH_MAX, read_raw
from commands.evm.signing.wire import as_payload
from db.bounded import (
    DEPTH_MAX,
    Unreadable,
    load_json,
    load_strict_json,
    rlp_depth,
)
from ops.settings.abi_files import read_abi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = float(os.environ.get("CHAINFOLD_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("CHAINFOLD_FUZZ_SEED", "0"))
ROOM = 1 << 16
WALLET = Account.from_key(b"\3" * 32)  # nobody's: for tests only
CALL = {
    "chainId": 100, "nonce": 7, "gas": 50_000, "value": 5, "data": b"\1" * 90,
    "to": "0x" + "11" * 20,
}  # fmt: skip
ACCESS = [{"address": "0x" + "22" * 20, "storageKeys": ["0x" + "33" * 32] * 2}]
FEES = {"maxFeePerGas": 10, "maxPriorityFeePerGas": 1}
TRANSACTIONS = [
    bytes(WALLET.sign_transaction({**CALL, **more}).raw_transaction)
    for more in (
        {"gasPrice": 9}, {"type": 1, "gasPrice": 9, "accessList": ACCESS},
        {"type": 2, **FEES, "accessList": ACCESS}, {"type": 2, **FEES},
    )
]  # fmt: skip
DOCUMENTS = [
    b'{"issuer": "0x12", "credential": "vc", "n": [1, 2.5e3, true, null, "\\u00e9"]}',
    b'[[[{"a": {"b": ["\\ud83d\\ude00", ""]}}]], -0.0, 12345678901234567890123]',
    b'{"a": "[[[{{{", "b": "\\\\\\"", "c": {}}',
]
TOKENS = [
    b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b",", b":", b"\0",
    b"\xff", b"[" * 90, b"]" * 90, b'{"a":' * 70, b"1" * 50, b"NaN", b"\xc0", b"\xf9",
    b"\xff" * 9, b"\xb8", b"\x80", b'"type"', b'"tuple[]"', b'"components"', b"[2][]",
]  # fmt: skip


def mutated(chance, content):
    """Some bytes otherwise, taken out, doubled, or others put in."""
    made = bytearray(content)
    for _ in range(chance.randint(0, 6)):
        at = chance.randrange(len(made) + 1)
        to = min(len(made), at + chance.randint(0, 9))
        what = chance.randrange(4)
        if what == 0 and made:
            made[at % len(made)] = chance.randrange(256)
        elif what == 1:
            del made[at:to]
        elif what == 2:
            made[at:at] = made[at:to] * chance.randint(1, 3)
        else:
            made[at:at] = chance.choice(TOKENS)
    return bytes(made)


def fuzz(target, samples):
    """Give mutations of samples to a target until the time is over."""
    ends, seed = time.monotonic() + SECONDS, SEED
    while time.monotonic() < ends:
        seed += 1
        chance = random.Random(seed)
        given = mutated(chance, chance.choice(samples))
        try:
            target(given)
        except BaseException as error:
            error.add_note(f"seed {seed}: {given!r}")
            raise
    assert seed > SEED + 100


def in_few_words(error):
    """A refusal repeats no more than a part of what was sent."""
    assert len(str(error)) < 2000


def test_json():
    def target(content):
        try:
            expected = json.loads(content.decode(), parse_constant=float)
        except (ValueError, RecursionError):
            expected = ...
        for load in (load_json, load_strict_json):
            try:
                found = load(content, bytes_max=ROOM)
            except Unreadable as error:
                in_few_words(error)
                continue
            assert expected is not ...
            assert json.dumps(found) == json.dumps(expected)
            assert json.dumps(found).encode()
            assert depth(found) <= DEPTH_MAX

    fuzz(target, DOCUMENTS)


def depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def test_rlp():
    def target(content):
        try:
            found = read_raw(content)
        except BadTransaction as error:
            in_few_words(error)
        else:
            assert 20 == len(found.sender)
            assert content == found.raw
        try:
            decoded = rlp.decode(content, strict=True)
        except Exception:
            return
        assert min(depth(decoded), RLP_DEPTH_MAX + 1) == rlp_depth(
            content, RLP_DEPTH_MAX
        )

    fuzz(target, [*TRANSACTIONS, *(raw[1:] for raw in TRANSACTIONS if raw[0] < 3)])


def test_abi_files(tmp_path):
    path = tmp_path / "abi.json"
    names = ("CampaignFactory", "IssuerRegistry", "Pair")
    samples = [json.dumps(entry).encode() for n in names for entry in load_abi(n)]
    samples = [b"[" + each + b"]" for each in samples]

    def target(content):
        path.write_bytes(content)
        try:
            found = read_abi(path)
        except ValueError as error:
            in_few_words(error)
        else:
            assert all(isinstance(entry, dict) for entry in found)

    fuzz(target, samples)


def test_what_a_contract_reverts_with():
    errors = [
        bytes.fromhex("08c379a0") + (32).to_bytes(32) + (5).to_bytes(32) + b"no" * 16,
        bytes.fromhex("4e487b71") + (17).to_bytes(32),
    ]

    def target(content):
        assert isinstance(explain_revert("IssuerRegistry", content, "reverted"), str)

    fuzz(target, errors)


def test_calls_of_the_signing_port():
    said = {
        "from": "0x" + "11" * 20, "to": "0x" + "22" * 20, "nonce": "0x7", "gas": "0x5",
        "value": "0x0", "data": "0x01", "chainId": "0x64", "gasPrice": "0x9",
    }  # fmt: skip

    def target(content):
        try:
            parameter = load_strict_json(content, bytes_max=ROOM)
            sender, payload = as_payload(dict(parameter))
        except (Unreadable, SigningRefused, ValueError, TypeError):
            return
        assert 20 == len(sender) == len(payload.to)
        assert payload.nonce < 1 << 64

    fuzz(target, [json.dumps(said).encode()])
