"""What is declared is found by itself."""

import pytest

from db.declare import Contract, DeclarationError, Event, Uint, reaction
from db.declare.evm.bare import declare_events
from db.registry import Registry, event_fingerprint
from helpers.ledger import EVENTS, PROJECTIONS, REGISTRY, abi_event
from ops.describe import describe_event
from ops.docs.declared import events_page


def test_every_domain_is_found():
    registry = Registry.load()

    assert "crowdfunding.InvestmentMade" in registry.events
    assert "campaigns" in registry.projections
    assert list(registry.events) == sorted(registry.events)
    assert list(registry.projections) == sorted(registry.projections)


def test_contracts_without_code_are_added():
    bare = declare_events("Token", [abi_event("Transfer", a="address")])

    registry = REGISTRY.with_events(bare)

    assert {"Shop", "Token"} == set(registry.contracts)
    assert bare == registry.events_of("Token")
    assert REGISTRY.projections == registry.projections
    assert "token.Transfer" not in REGISTRY.events


def test_the_order_of_declaration_does_not_matter():
    turned = Registry.of(reversed(EVENTS), reversed(PROJECTIONS))

    assert list(turned.events) == list(REGISTRY.events)
    assert list(turned.projections) == list(REGISTRY.projections)


def test_every_event_has_a_fingerprint_of_its_own():
    registry = Registry.load()

    prints = {event_fingerprint(event) for event in registry.events.values()}
    assert len(registry.events) == len(prints)
    assert {12} == {len(each) for each in prints}


def test_contracts_that_take_no_id_are_known():
    class Rung(Event):
        """A bell rang."""

        source = Contract("Bell", abi=[abi_event("Rung", times="uint8")], tagged=False)
        times = Uint(8)

    registry = Registry.of([Rung]).with_events(EVENTS)

    assert {"Bell"} == registry.untagged
    assert frozenset() == Registry.load().untagged
    assert any(
        "Calls of it carry no id" in line for line in describe_event(Rung, sql=False)
    )
    assert "Calls of it carry no id" in events_page(registry)


def test_two_reactions_of_one_name_are_refused():
    def twice(event, tables):
        """Nothing."""
        yield from ()

    one, other = reaction(to=EVENTS[0])(twice), reaction(to=EVENTS[1])(twice)

    with pytest.raises(DeclarationError, match="one of them would never run") as caught:
        Registry.of([], [], [], [one, other])

    assert __file__ in str(caught.value)
    assert {one.id} == set(Registry.of([], [], [], [one, one]).reactions)


def test_what_a_reaction_is_given_is_indexed():
    def once(event, tables):
        """Nothing."""
        yield from ()

    registry = Registry.of([], [], [], [reaction(to=EVENTS[0])(once)])

    assert {EVENTS[0].spec.id} == set(registry.events)


def test_two_contracts_of_one_name_are_refused():
    class Rung(Event):
        """A bell of another shop rang."""

        source = Contract("Shop", abi=[abi_event("Rung", times="uint8")])
        times = Uint(8)

    with pytest.raises(
        DeclarationError, match="has another ABI or IDL than that of.*ledger"
    ):
        Registry.of([*EVENTS, Rung])
