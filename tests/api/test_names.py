"""Names of tables and of the API's other routes do not meet."""

import pytest

from api.app import OWN_NAMES, create_app
from db.declare import Count, DeclarationError, Entry, Key, Projection, Text
from db.registry import Registry
from helpers.door import Door


class Told(Entry):
    """Something was told."""

    __domain__ = "stall"
    book = Text()


def table(name):
    """A projection of this name."""
    body = {
        "__doc__": "One row per book.", "__domain__": "stall", "__module__": __name__,
        "book": Key(), "times": Count(Told),
    }  # fmt: skip
    return type(Projection)(name, (Projection,), body)


def registry_with(projection):
    system = Registry.load([])
    return Registry.of(
        [*system.events.values(), Told], [*system.projections.values(), projection],
        timers=system.schedules.values(), postings=system.postings,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["Book", "Command", "Document", "Schedule"])
def test_a_table_with_the_name_of_another_route_is_refused(db_engine, name):
    with pytest.raises(DeclarationError, match=f'plural = "stall_{name.lower()}s"'):
        create_app(db_engine, registry_with(table(name)))


def test_a_business_may_have_payments(database_url):
    door = Door(database_url, registry_with(table("Payment")))
    token = door.token(door.account("operator"))
    assert door.get("/api/v1/payments", token=token).json["data"] == []
    door.close()


def test_the_names_are_those_of_all_routes_that_are_no_tables(database_url):
    door = Door(database_url, Registry.load(["settlement"]))
    tables = {*door.registry.projections, "settlement", "api-docs", "probe"}
    found = {
        name
        for name in door.app.blueprints
        if name not in tables and not name.startswith("event_")
    }
    assert {"auth", "books", "journal", "schedules", "stripe"} <= found
    assert found <= OWN_NAMES
    door.close()
