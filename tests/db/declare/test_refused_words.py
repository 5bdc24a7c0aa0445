"""A declaration refuses what it does not know, with file, class and remedy."""

import json

import pytest

from abis import BadArtifact, load_artifact
from db.declare import (
    Address,
    Call,
    Command,
    Contract,
    Count,
    DeclarationError,
    Entry,
    Event,
    Key,
    Personal,
    Projection,
    Role,
    Sum,
    Text,
    Uint,
    reaction,
)
from db.domains.crowdfunding import events as e
from helpers.ledger import abi_event

shop = Contract("Stall", abi=[abi_event("Sold", item="address", price="uint256")])


class Sold(Event):
    """A thing was sold."""

    source = shop
    item = Address()
    price = Uint()


class Noted(Entry):
    """Somebody wrote something down."""

    text = Text()


def never(command, tables):
    """No rule at all."""
    yield from ()


def event(**body):
    return lambda: type(Event)("Sale", (Event,), {"source": shop, **body})


def entry(**body):
    return lambda: type(Entry)("Note", (Entry,), {"text": Text(), **body})


def projection(**body):
    body = {"item": Key(), "sales": Count(Sold), "__module__": __name__, **body}
    body["sales"].name = "sales"
    return lambda: type("Item", (Projection,), body)


def command(**body):
    issuer = Address()
    body = {
        "issuer": issuer, "role": Role.OPERATOR, "signer": "x", "__module__": __name__,
        "call": Call("IssuerRegistry.deactivateIssuer", issuer=issuer),
        "proof": e.IssuerDeactivated, **body,
    }  # fmt: skip
    return lambda: type("Ask", (Command,), body)


def to(function, event=Sold):
    return lambda: reaction(to=event)(function)


def no_generator(event, tables):
    return []


def one_argument(event):
    yield event


WRONG = {
    "a misspelt where": (event(wher={"price": 1}), r"Sale\.wher: .*mean 'where'"),
    "a misspelt source": (event(sourc=shop), r"did you mean 'source'"),
    "a field without parentheses": (event(item=Address), r"write item = Address\(…\)"),
    "a field with a comma": (event(item=(Address(),)), "take out the comma"),
    "a field only annotated": (
        event(__annotations__={"item": Address}), "an annotation declares nothing",
    ),
    "a where that is no mapping": (
        event(name="Sold", where=("price", 1)), "gives no values",
    ),
    "a name that is no text": (event(name=Sold), "is not text"),
    "a field that hides the contract": (
        event(source=Address(emitter=True)), "give the contract another name",
    ),
    "what an event does not say": (event(readable_by=(Role.AUDITOR,)), "take it out"),
    "a misspelt reader": (entry(readble_by=()), r"did you mean 'readable_by'"),
    "a personal value that is none": (entry(name_=Personal), r"Personal\(…\)"),
    "a misspelt index": (projection(indx=("item",)), r"Item\.indx: .*'index'"),
    "a misspelt plural": (projection(plurl="zz"), r"did you mean 'plural'"),
    "an index of one name": (projection(index="item"), "with a comma behind one name"),
    "a field in a projection": (projection(price=Uint()), "neither"),
    "rules with another name": (command(rule=(never,)), r"Ask\.rule: .*'rules'"),
    "a rule that is text": (command(rules=("never",)), "'never' cannot be called"),
    "one rule and no list": (command(rules=never), "with a comma behind one rule"),
    "a rule of one argument": (
        command(rules=(lambda command: ()),), r"write rules = \(<rule>,\)",
    ),
    "a rule that takes no tables": (
        command(rules=(one_argument,)), "'one_argument' does not take two arguments",
    ),
    "a misspelt route": (command(rout="a"), r"did you mean 'route'"),
    "a reaction that returns": (to(no_generator), "not a generator of commands"),
    "a reaction of one argument": (to(one_argument), r"<reaction>\(event, tables\)"),
    "a role that is no name": (lambda: Role("Creator One"), "lower case"),
    "a quotient": (lambda: Sum(Sold.price) / 2, "write // for division"),
    "a quotient of a number": (lambda: 2 / Sum(Sold.price), "write // for division"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_known_is_refused(wrong):
    declare, told = WRONG[wrong]

    with pytest.raises(DeclarationError, match=told) as caught:
        declare()

    assert __file__ in str(caught.value)
    assert "Remedy: " in str(caught.value)


@pytest.mark.parametrize(
    ("base", "body"), [(Sold, {"source": shop}), (Noted, {"text": Text()})]
)
def test_nothing_is_taken_over_from_another_declaration(base, body):
    with pytest.raises(DeclarationError, match="nothing is taken over from"):
        type(base)("More", (base,), body)


def test_commands_and_projections_take_over_nothing_either():
    class Item(Projection):
        """A thing."""

        item = Key()
        sales = Count(Sold)

    with pytest.raises(DeclarationError, match="nothing is taken over from Item"):

        class More(Item):
            """More of it."""

            item = Key()
            sales = Count(Sold)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ('{"bytecode": "0x"}', "holds no ABI"),
        ('["event Sold(address item)"]', "holds no ABI"),
        ('[{"name": "Sold"}]', "holds no ABI"),
    ],
)
def test_an_abi_in_another_form_is_refused(tmp_path, text, told):
    (tmp_path / "Odd.json").write_text(text)
    code = compile('Contract("Odd")', str(tmp_path / "events.py"), "exec")
    (tmp_path / "events.py").write_text("")

    with pytest.raises(DeclarationError, match=told) as caught:
        exec(code, {"Contract": Contract, "__name__": "odd.events"})

    assert "write the compiler's output into it" in str(caught.value)
    with pytest.raises(BadArtifact):
        load_artifact("Odd")


@pytest.mark.parametrize("folder", ["", "abis"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_an_abi_lies_beside_the_declaring_file(tmp_path, folder, wrapped):
    abi = [abi_event("Rung", times="uint8")]
    name = f"Bell{folder}{wrapped}"
    (tmp_path / folder).mkdir(exist_ok=True)
    file = tmp_path / folder / f"{name}.json"
    file.write_text(json.dumps({"abi": abi} if wrapped else abi))
    (tmp_path / "events.py").write_text("")
    found = {"Contract": Contract, "__name__": "bells.events"}

    code = compile(f'bell = Contract("{name}")', str(tmp_path / "events.py"), "exec")
    exec(code, found)

    assert abi == found["bell"].abi == load_artifact(name)["abi"]
