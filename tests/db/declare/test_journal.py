"""Entries are declared as events are, and what cannot mean anything is refused."""

import uuid

import pytest

from db.declare import (
    EVERYONE,
    Contract,
    Count,
    DeclarationError,
    Entry,
    Event,
    Key,
    Latest,
    Personal,
    Projection,
    Role,
    Text,
    Uint,
    Uuid,
)
from db.declare.readers import STAFF
from db.registry import Registry
from helpers.journal import REGISTRY, Application, Applied, Decided, Turnout
from helpers.ledger import abi_event
from indexer.streams import Wanted, plan_streams

shop = Contract("Shop", abi=[abi_event("Paid", amount="uint256")])


class Paid(Event):
    """Somebody paid."""

    source = shop
    amount = Uint()


def entry(**body):
    return type(Entry)("Made", (Entry,), {"__module__": __name__, **body})


def projection(**body):
    return type("Row", (Projection,), {"__module__": __name__, **body})


def test_an_entry_is_an_event_without_a_contract():
    spec = Applied.spec

    assert ("club.Applied", "club_applied") == (spec.id, spec.table)
    assert ["applicant", "amount", "wishes"] == list(spec.fields)
    assert ["full_name", "age"] == list(spec.personal)
    assert "applicant" == spec.subject
    assert spec.in_journal
    assert not Paid.spec.in_journal
    assert Applied.amount.field is spec.fields["amount"]


def test_who_may_read():
    assert (STAFF, None) == (Applied.spec.readable_by, Decided.spec.readable_by)
    assert (STAFF, (Role.AUDITOR,)) == (
        Application.spec.readable_by, Turnout.spec.readable_by
    )  # fmt: skip
    assert Paid.spec.readable_by is None


def test_an_entry_holds_checked_values():
    who = uuid.UUID(int=7)
    made = Applied(applicant=who, amount="5", wishes=[], full_name="A", age=4)

    assert {"applicant": str(who), "amount": 5, "wishes": []} == made.values
    assert {"full_name": "A", "age": 4} == made.personal
    assert str(who) == made.about
    assert Decided(applicant=who, amount=1, reason="").about is None


def test_the_journal_is_no_contract_and_is_read_from_no_chain():
    registry = Registry.of([Paid, *REGISTRY.events.values()])
    wanted = Wanted(0, {"journal": {bytes(20): 0}, "Shop": {bytes(20): 0}})

    assert {"Shop": shop} == registry.contracts
    assert [] == registry.events_of("journal")
    assert ["audit.SubjectErased", "club.Applied", "club.Decided"] == list(
        registry.entries
    )
    assert {"chain.blocks", Paid.spec.id} == {
        stream.event for stream in plan_streams(registry, wanted)
    }


def test_what_an_entry_is_folded_to_has_a_fingerprint():
    other = Registry.of(REGISTRY.events.values(), [Turnout])

    assert REGISTRY.journal_print != other.journal_print
    more = Registry.of([Paid, *REGISTRY.events.values()], [Application, Turnout])
    assert REGISTRY.journal_print == more.journal_print


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"source": shop, "a": Uint()}, "source is the journal"),
        ({}, "says nothing"),
        ({"a": Uint(), "height": Uint()}, "taken by the vocabulary"),
        ({"a": Uint(), "P": Personal(Text(), of="a")}, "lower case"),
        ({"a": Uint(), "p": Personal(Text(), of="b")}, "of 'b'"),
        (
            {
                "a": Uint(),
                "b": Uint(),
                "p": Personal(Text(), of="a"),
                "q": Personal(Text(), of="b"),
            },
            "one person",
        ),
        ({"a": Uint(), "readable_by": ("auditor",)}, "not a list of roles"),
        ({"a": Uint(), "readable_by": ()}, "not a list of roles"),
    ],
)
def test_entries_that_mean_nothing(body, message):
    with pytest.raises(DeclarationError, match=message):
        entry(**body)


def test_personal_values_are_not_folded():
    with pytest.raises(DeclarationError, match="never reach facts"):
        Latest(Applied.full_name)


def test_a_row_is_of_one_source():
    with pytest.raises(DeclarationError, match="from the journal and"):
        projection(amount=Key(), n=Count(Applied, Paid))


def test_what_chains_say_is_public():
    assert projection(amount=Key(), n=Count(Paid), readable_by=EVERYONE)
    with pytest.raises(DeclarationError, match="is public"):
        projection(amount=Key(), n=Count(Paid), readable_by=(Role.AUDITOR,))


def test_identifiers_have_one_form():
    assert str(uuid.UUID(int=10)) == Uuid().check(str(uuid.UUID(int=10)).upper())
    with pytest.raises(ValueError, match="not a UUID"):
        Uuid().check("1234")
