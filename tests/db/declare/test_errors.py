"""Every mistake in a declaration is refused at import, with file, name and remedy."""

import pytest

from db.declare import (
    Address,
    Blob,
    Bool,
    Bytes32,
    Contract,
    Count,
    CountDistinct,
    DeclarationError,
    Event,
    First,
    Hash,
    Int,
    Json,
    Key,
    Latest,
    Max,
    Min,
    Projection,
    Replay,
    Stage,
    Sum,
    Text,
    Uint,
)
from db.registry import Registry
from helpers.ledger import abi_event

shop = Contract(
    "Shop",
    abi=[
        abi_event("Sold", item="indexed_address", price="uint256", good="bool"),
        abi_event("Named", item="address", title="indexed_string", note="string"),
        abi_event("Signed", item="address", seal="bytes32", parts="uint8[]"),
        abi_event("Twice", a="uint256"),
        abi_event("Twice", a="address"),
        abi_event("Small", item="address", level="int64", fundingGoal="uint256"),
        abi_event("Odd", mro="uint256", keyed="uint256", Item="address"),
    ],
)


class Sold(Event):
    """A thing was sold."""

    source = shop
    item = Address()
    price = Uint()
    good = Bool()


class Named(Event):
    """A thing was named."""

    source = shop
    item = Address()
    note = Text()


class Signed(Event):
    """A thing was signed."""

    source = shop
    item = Address()
    seal = Bytes32()
    parts = Json()


def refused(problem, remedy):
    """The declaration below says what is wrong, where, and what to do about it."""
    return pytest.raises(
        DeclarationError,
        match=rf"test_errors\.py:\d+: .*{problem}.*Remedy: .*{remedy}",
    )


# --- events


def test_an_event_without_a_source():
    with refused("Lost: it has no source", r"write `source = Contract\("):

        class Lost(Event):
            item = Address()


def test_an_event_that_the_abi_does_not_have():
    with refused("Unknown: the ABI of Shop has no event Unknown", "Sold.address,uint"):

        class Unknown(Event):
            source = shop


def test_an_overloaded_event_needs_its_signature():
    with refused(
        "Twice: Shop has 2 events called Twice",
        r"write `name = 'Twice\(uint256\)' or 'Twice\(address\)'`",
    ):

        class Twice(Event):
            source = shop

    class TwiceOfAddress(Event):
        source = shop
        name = "Twice(address)"
        a = Address()

    assert "address" == TwiceOfAddress.spec.schema["inputs"][0]["type"]


@pytest.mark.parametrize(
    ("name", "abi_name", "field"),
    [
        ("price", "Sold", Address()),
        ("price", "Sold", Uint(64)),
        ("price", "Sold", Int()),
        ("price", "Sold", Bool()),
        ("price", "Sold", Text()),
        ("price", "Sold", Hash()),
        ("good", "Sold", Uint()),
        ("item", "Sold", Bytes32()),
        ("note", "Named", Hash()),
        ("note", "Named", Blob()),
        ("seal", "Signed", Blob()),
        ("parts", "Signed", Uint()),
        ("level", "Small", Uint(64)),
    ],
    ids=lambda value: getattr(value, "describe", lambda: value)(),
)
def test_a_field_that_cannot_hold_its_parameter(name, abi_name, field):
    with refused(f"Wrong.{name}: {type(field).__name__} cannot hold", "field of that"):
        type(Event)(
            "Wrong",
            (Event,),
            {"source": shop, "name": abi_name, "__module__": "test", name: field},
        )


def test_an_indexed_string_is_only_there_as_its_hash():
    with refused("Titled.title: Text cannot hold indexed string", r"use Hash\(\)"):

        class Titled(Event):
            source = shop
            name = "Named"
            title = Text()


def test_a_parameter_that_the_event_does_not_have():
    with refused(
        "no parameter 'sold_to' or 'soldTo'", "param= with one of item, price, good"
    ):

        class SoldTo(Event):
            source = shop
            name = "Sold"
            sold_to = Address()


@pytest.mark.parametrize(
    "name",
    "position height block_time transaction chain as_of spec keyed only event "
    "condition identity mro".split(),
)
def test_field_names_that_the_vocabulary_uses(name):
    with refused(
        f"Taken.{name}: the name is taken by the vocabulary", f"write `{name}_ = "
    ):
        type(Event)(
            "Taken",
            (Event,),
            {"source": shop, "name": "Odd", "__module__": "test", name: Uint()},
        )


@pytest.mark.parametrize("name", ["Item", "1st", "é", "a" * 42, "_x"])
def test_field_names_that_are_no_column_names(name):
    with refused(f"Named.{name}: field names are lower case", "param="):
        type(Event)(
            "Named",
            (Event,),
            {"source": shop, "__module__": "test", name: Address(param="item")},
        )


def test_where_takes_plain_parameters_only():
    with refused("'title' is not a plain parameter", "item, title, note"):

        class Titled(Event):
            source = shop
            name = "Named"
            where = {"title": "x"}  # noqa: RUF012


def test_reading_a_field_that_the_event_does_not_have():
    with refused(r"Sold.prize: the event has no such field", "item, price, good, pos"):
        _ = Sold.prize


def test_keys_are_filled_by_fields_of_the_event():
    with refused(
        r"Sold.keyed\(owner='buyer'\): the event has no such field", "item, price"
    ):
        Sold.keyed(owner="buyer")


def test_a_condition_reads_its_own_event_only():
    with refused("a condition may read only fields of the event", "fields of Sold"):
        Sold.only(Signed.seal == bytes(32))


@pytest.mark.parametrize("condition", [True, Sold.price, Sold.price + 1])
def test_a_condition_is_true_or_false_of_each_fact(condition):
    with refused("it is not a condition", "Event.amount > 0"):
        Sold.only(condition)


# --- folds


def test_a_fold_of_nothing():
    with refused("Sum: it folds nothing", "name an event or a field"):
        Sum()


def test_a_fold_of_what_is_no_event():
    for fold in (Sum, Count):
        with refused("'Sold': it is not an event", "name an Event class"):
            fold("Sold")
    with refused("Sold'> has no value", "name a field, as in Event.amount"):
        Sum(Sold)


def test_one_value_comes_from_one_event():
    with refused("one value must come from one event", "one argument for each event"):
        Sum(Sold.price + Sold.keyed(x="item").price)


@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": 1}])
def test_constants_are_numbers_texts_bytes_or_truths(value):
    with refused("cannot be a folded value", "a whole number, a text, bytes"):
        Latest({Sold: value})


def test_two_moves_from_one_state_on_one_event():
    with refused("two moves from 'open' on Sold", "keep one of them"):
        Stage(
            ([""], Named, "open"),
            (["open"], Sold, "done"),
            (["open"], Sold, "lost"),
        )


def test_a_state_that_no_move_leads_to():
    with refused("no move leads to the state 'opne'", "'', 'done', 'open'"):
        Stage(([""], Named, "open"), (["opne"], Sold, "done"))


def test_the_states_of_a_move_are_a_list():
    with refused("states it starts from are not a list", r"write \['open'\]"):
        Stage(([""], Named, "open"), ("open", Sold, "done"))


@pytest.mark.parametrize("fold", [Min, Max])
@pytest.mark.parametrize("value", ["good", "item"])
def test_the_least_and_greatest_are_of_numbers_or_texts(fold, value):
    """Postgres has no max(boolean), and no max(bytea) before version 18."""
    with refused(f"{fold.__name__} cannot work with", "First, Latest or CountDistinct"):
        projection(best=fold(getattr(Sold, value)))


def test_sums_are_of_numbers():
    for value in (Sold.item, Sold.good):
        with refused("Sum cannot work with", "give Sum numbers"):
            projection(total=Sum(value))


def test_one_fold_has_values_of_one_type():
    with refused("Signed brings bytea.32., others bytea.20.", "values of one type"):
        projection(last=Latest(Sold.item, Signed.seal))
    with refused("Named brings text, others numeric", "values of one type"):
        projection(last=Latest(Sold.price, Named.note))
    with refused("Sold brings boolean, others text", "values of one type"):
        projection(last=CountDistinct(Named.note, Sold.good))


def test_small_and_large_numbers_are_one_type():
    class Small(Event):
        source = shop
        item = Address()
        level = Int(64)
        goal = Uint(param="fundingGoal")

    found = projection(last=Latest(Small.level, Small.goal, {Sold: 1}))

    assert "numeric" == found.spec.folds["last"].kind.value


# --- expressions


def test_bytes_of_another_length_are_never_equal():
    with refused("bytea.32. is never equal to bytea.6.", "pad them"):
        Signed.only(Signed.seal == b"crypto")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Named.note + 1,
        lambda: -Sold.good,
        lambda: Sold.item < Sold.item,
        lambda: Named.note > "a",
        lambda: Sold.good & Sold.price,
    ],
)
def test_operators_take_what_they_are_for(make):
    with refused("takes (numbers|conditions), and one side is", "give it"):
        projection(x=First(make()))


# --- projections


def projection(**body):
    """A projection with the key `item` and this body."""
    return type("Row", (Projection,), {"item": Key(), "__module__": "test", **body})


def test_a_projection_without_a_key():
    with refused("Keyless: it has no key", r"write `name = Key\(\)`"):

        class Keyless(Projection):
            sold = Count(Sold)


def test_a_projection_without_a_fold():
    with refused("Row: it folds nothing", r"write `name = Count\(Event\)`"):
        projection()


def test_a_key_that_an_event_cannot_fill():
    with refused(
        "Row.sold: Sold has no field for the key 'owner'",
        r"declare one in Sold, or write Sold.keyed\(owner=…\)",
    ):
        projection(owner=Key(), sold=Count(Sold))


def test_keys_have_one_type():
    with refused(
        "Row.owner: Signed gives it as Bytes32:bytea.32., "
        "another event as Address:bytea.20.",
        "declare both fields with the same type",
    ):
        projection(
            owner=Key(),
            sold=Count(Sold.keyed(owner="item")),
            signed=Count(Signed.keyed(owner="seal")),
        )


@pytest.mark.parametrize(
    "name", ["source", "chain", "as_of", "spec", "plural", "index", "last_at"]
)
def test_column_names_that_chainfold_keeps(name):
    with refused(f"Row.{name}: the name is taken", "choose another name"):
        projection(last=Latest(Sold.price), **{name: Count(Sold)})


def test_columns_that_a_stage_and_a_replay_keep():
    for name in ("stage_at", "stage_refused"):
        with refused(f"Row.{name}: the name is taken", "choose another name"):
            projection(stage=Stage(([""], Sold, "sold")), **{name: Count(Sold)})
    with refused("Row.all_at: the name is taken", "choose another name"):
        projection(all=Replay(lambda state, fact: 1, Sold), all_at=Count(Sold))


@pytest.mark.parametrize("name", ["Sold", "é", "a" * 42, "sold__Twice"])
def test_column_names_are_lower_case(name):
    with refused(f"Row.{name}: names are lower case", "rename it"):
        projection(**{name: Count(Sold)})


def test_the_same_fold_under_two_names():
    fold = Count(Sold)

    with refused("it is the same fold as total", "write the fold once"):
        projection(sold=fold, total=fold)


def test_a_row_expression_reads_folds_of_its_own_projection():
    other = projection(sold=Sum(Sold.price)).spec.folds["sold"]

    with refused("Row.twice: a row expression may read only folds of the same", "name"):
        projection(sold=Count(Sold), twice=other + other)
    with refused("Row.price: a row expression may read only folds of the same", "name"):
        projection(sold=Count(Sold), price=Sold.price * 2)


def test_a_row_expression_that_has_no_value():
    sold = Count(Sold)
    note = First(Named.note)

    with refused("takes numbers, and one side is text", "give it numbers"):
        projection(sold=sold, note=note, wrong=sold + note)


def test_an_index_of_an_unknown_column():
    sold = Count(Sold)

    for name in ("sould", "twice"):
        with refused(f"{name}' is not a key or a fold", "only stored columns"):
            projection(sold=sold, twice=sold * 2, index=(name,))


@pytest.mark.parametrize("plural", ["Rows", "", "a" * 46, 7, "two words"])
def test_a_plural_names_a_table(plural):
    with refused("Row.plural: .* cannot name a table", "lower case"):
        projection(sold=Count(Sold), plural=plural)


# --- names across domains


def named(name, domain, **body):
    return type(
        name,
        (Projection,),
        {"item": Key(), "sold": Count(Sold), "__domain__": domain}
        | {"__module__": __name__, **body},
    )


def taken(problem):
    return pytest.raises(
        DeclarationError,
        match=rf"test_errors\.py: .*{problem}.*Remedy: rename one of them",
    )


def test_two_projections_with_one_plural():
    with taken("two.Lot: the name 'lots' is already taken by one.Lot .*test_errors.py"):
        Registry.of([], [named("Lot", "one"), named("Lot", "two")])

    other = named("Lot", "two", plural="lots_of_two")
    assert ["lots", "lots_of_two"] == list(
        Registry.of([], [named("Lot", "one"), other]).projections
    )


def test_a_projection_with_the_name_of_an_event_s_facts():
    plural = Sold.spec.table

    with taken(f"the name '{plural}' is already taken by test_errors.Sold"):
        Registry.of([Sold], [named("Lot", "one", plural=plural)])


def test_an_event_twice():
    with taken("already taken by test_errors.Sold"):
        Registry.of([Sold, Sold])


def test_events_that_only_a_projection_reads_are_known_too():
    assert ["test_errors.Sold"] == list(Registry.of([], [named("Lot", "one")]).events)


def test_a_table_name_that_is_too_long():
    long = type(Event)(
        "Sold" + "x" * 40,
        (Event,),
        {"source": shop, "name": "Sold", "__module__": __name__},
    )

    with pytest.raises(DeclarationError, match=r"longer than 45.*Remedy: shorten it"):
        Registry.of([long])
