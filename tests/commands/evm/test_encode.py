"""Calls as bytes, and reverts as words."""

import uuid

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3 import Web3

from abis import load_abi
from commands.arguments import BadArguments, check_arguments
from commands.evm.encode import calldata, explain_revert
from db.commands.evm.tags import command_id_of, tag_of
from db.declare.commands import as_json
from db.domains.crowdfunding.commands import AttestInvestment, RegisterIssuer

ISSUER = "0x" + "ab" * 20
ID = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def test_a_call_is_what_web3_makes_of_it_with_the_id_behind():
    spec = RegisterIssuer.spec
    given = {"issuer": ISSUER, "credential": "vc", "memorandum": "ipfs://ብርሃን"}
    contract = Web3().eth.contract(abi=load_abi("IssuerRegistry"))
    expected = contract.encode_abi(
        "registerIssuer",
        args=[Web3.to_checksum_address(ISSUER), "vc", "ipfs://ብርሃን"],
    )

    data = calldata(spec.call, check_arguments(spec, given), ID)

    assert "0x" + data[:-32].hex() == expected
    assert command_id_of(data) == ID
    assert command_id_of(data[:-32]) is None


def test_a_contract_may_take_no_id():
    spec = RegisterIssuer.spec
    given = {"issuer": ISSUER, "credential": "vc", "memorandum": "m"}
    arguments = check_arguments(spec, given)

    data = calldata(spec.call, arguments, None)

    assert data == calldata(spec.call, arguments, ID)[:-32]
    assert command_id_of(data) is None


def test_arguments_cannot_pass_for_an_id_where_there_is_none():
    spec = AttestInvestment.spec
    given = {
        "campaign": ISSUER, "investor": ISSUER, "amount": "1",
        "method": "0x" + "01" * 32, "payment_ref": "0x" + tag_of(ID).hex(),
    }  # fmt: skip
    arguments = check_arguments(spec, given)
    assert calldata(spec.call, arguments, ID)

    with pytest.raises(BadArguments, match="reserved 16-byte command marker"):
        calldata(spec.call, arguments, None)


def test_every_wrong_argument_is_named():
    with pytest.raises(BadArguments) as error:
        check_arguments(
            AttestInvestment.spec,
            {
                "campaign": "0x12",
                "amount": "-1",
                "other": "1",
                "method": "0x" + "00" * 32,
            },
        )

    problems = "\n".join(error.value.problems)
    for part in (
        "campaign: expected 20 bytes", "amount: -1 is outside", "other: no such",
        "investor: it is required", "payment_ref: it is required",
    ):  # fmt: skip
        assert part in problems


def test_arguments_are_stored_as_they_are_shown():
    spec = AttestInvestment.spec
    given = {
        "campaign": ISSUER, "investor": ISSUER, "amount": str(2**255),
        "method": "0x" + "01" * 32, "payment_ref": "0x" + "02" * 32,
    }  # fmt: skip

    assert as_json(spec.fields, check_arguments(spec, given)) == given


def selector(text):
    return keccak(text=text)[:4]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            selector("IssuerAlreadyRegistered(address)")
            + encode(["address"], [ISSUER]),
            f"IssuerAlreadyRegistered(issuer={ISSUER})",
        ),
        (selector("Error(string)") + encode(["string"], ["no"]), "no"),
        (
            selector("Panic(uint256)") + encode(["uint256"], [0x11]),
            "panic: arithmetic overflow",
        ),
        (b"\x01\x02\x03\x04", "reverted (0x01020304)"),
        (selector("IssuerAlreadyRegistered(address)") + b"\x01", None),
        (b"", "reverted"),
    ],
)
def test_a_revert_is_told_in_the_contracts_own_words(data, expected):
    told = explain_revert("IssuerRegistry", data, "reverted")

    assert told == (expected or f"reverted (0x{data.hex()})")
