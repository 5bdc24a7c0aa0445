"""Declared commands, and what is refused of them at import."""

import pytest

from db.declare import Address, Call, Command, DeclarationError, Text, Uint
from db.domains.crowdfunding import events as e
from db.registry import Registry


def declare(**body):
    return type("Ask", (Command,), {"__module__": __name__, **body})


def test_a_command_knows_its_function_and_what_fills_it():
    spec = Registry.load().commands["attest-investment"].spec

    assert spec.signature == "recordInvestment(address,uint256,bytes32,bytes32)"
    assert spec.at == "campaign"
    assert spec.arguments == {
        "investor": "investor", "amount": "amount", "methodCode": "method",
        "paymentRef": "payment_ref",
    }  # fmt: skip
    assert spec.proof is e.InvestmentMade


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "call = Call"),
        ({"call": Call("IssuerRegistry.deactivateIssuer")}, "signer ="),
        (
            {"call": Call("IssuerRegistry.deactivateIssuer"), "signer": "x"},
            "proof = <Event>",
        ),
    ],
)
def test_what_a_command_lacks_is_named(body, told):
    with pytest.raises(DeclarationError, match=told):
        declare(**body)


def test_a_function_with_other_parameters_is_refused_with_those_there_are():
    issuer = Address()
    with pytest.raises(DeclarationError, match=r"call deactivateIssuer\(issuer\)"):
        declare(
            issuer=issuer, signer="x", proof=e.IssuerDeactivated,
            call=Call("IssuerRegistry.deactivateIssuer", account=issuer),
        )  # fmt: skip


def test_a_field_of_another_type_is_refused():
    issuer = Uint()
    with pytest.raises(DeclarationError, match="Uint cannot fill address issuer"):
        declare(
            issuer=issuer, signer="x", proof=e.IssuerDeactivated,
            call=Call("IssuerRegistry.deactivateIssuer", issuer=issuer),
        )  # fmt: skip


def test_an_argument_that_is_no_field_is_refused():
    with pytest.raises(DeclarationError, match="not one of its fields"):
        declare(
            issuer=Address(), signer="x", proof=e.IssuerDeactivated,
            call=Call("IssuerRegistry.deactivateIssuer", issuer=Text()),
        )  # fmt: skip
