"""Declared commands, and what is refused of them at import."""

import pytest

from db.declare import (
    CALLER,
    Address,
    Call,
    Command,
    DeclarationError,
    Role,
    Text,
    Uint,
)
from db.domains.crowdfunding import events as e
from db.registry import Registry


def declare(**body):
    body = {"__module__": __name__, "role": Role.OPERATOR, **body}
    return type("Ask", (Command,), body)


def test_a_command_knows_its_function_and_what_fills_it():
    spec = Registry.load().commands["attest-investment"].spec
    call = spec.call

    assert call.signature == "recordInvestment(address,uint256,bytes32,bytes32)"
    assert call.at == "campaign"
    assert call.arguments == {
        "investor": "investor", "amount": "amount", "methodCode": "method",
        "paymentRef": "payment_ref",
    }  # fmt: skip
    assert spec.proof is e.InvestmentMade


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "call = Call"),
        (
            {
                "call": Call("IssuerRegistry.deactivateIssuer"),
                "record": e.IssuerRegistered,
            },
            "not both",
        ),
        ({"record": e.IssuerRegistered}, "give it a field issuer"),
        ({"record": object}, "record = <Entry>"),
        ({"call": Call("CampaignFactory.withdrawFees")}, "signer ="),
        (
            {"call": Call("CampaignFactory.withdrawFees"), "signer": "x"},
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


def deactivate(**body):
    issuer = Address()
    return declare(
        issuer=issuer, proof=e.IssuerDeactivated,
        call=Call("IssuerRegistry.deactivateIssuer", issuer=issuer), **body,
    )  # fmt: skip


def test_a_command_says_who_may_ask():
    one = deactivate(signer="x", role=Role.OPERATOR)
    two = deactivate(signer="x", role=(Role.OPERATOR, Role.COMPLIANCE))

    assert one.spec.roles == (Role.OPERATOR,)
    assert two.spec.roles == (Role.OPERATOR, Role.COMPLIANCE)
    for wrong in (None, (), "operator", ("operator",)):
        with pytest.raises(DeclarationError, match="nobody may ask"):
            deactivate(signer="x", role=wrong)


def test_the_caller_s_wallet_takes_the_place_of_a_signer():
    assert deactivate(signer=CALLER).spec.by_caller
    assert not deactivate(signer="registrar").spec.by_caller
    assert deactivate(signer=CALLER).spec.signer is None


def test_a_command_with_its_values_is_checked():
    command = Registry.load().commands["mint-certificate"]
    given = {"campaign": "0x" + "11" * 20, "investor": b"\x22" * 20, "uri": "u"}

    asked = command(**given)

    assert asked.campaign == b"\x11" * 20
    assert asked.values == {
        "campaign": b"\x11" * 20, "investor": b"\x22" * 20, "uri": "u",
    }  # fmt: skip
    assert command.spec.once_per == ("campaign", "investor")
    with pytest.raises(ValueError, match="missing uri, unknown other"):
        command(campaign=b"", investor=b"", other=1)
    with pytest.raises(ValueError, match="expected 20 bytes"):
        command(**{**given, "investor": "0x12"})


def test_once_per_is_a_tuple_of_fields():
    """A field alone would be one more field of the command, and named so."""
    number = Uint()

    with pytest.raises(DeclarationError, match=r"once_per.*with a comma behind one"):
        deactivate(signer="registrar", number=number, once_per=number)
