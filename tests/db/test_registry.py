"""What is declared is found by itself."""

from db.declare import Contract, Event, Uint
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
