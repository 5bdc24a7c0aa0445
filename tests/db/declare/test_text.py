"""Projections as text are those that Python declares; errors point at the word."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import db.declare
from db.declare import DeclarationError, Projection
from db.declare.text import read_projection
from helpers import ledger
from helpers.ledger import EVENTS

NAMES = {event.spec.name: event for event in EVENTS}
NUMBERS = {
    "Opened": ["goal", "block_time", "height"], "Paid": ["amount", "kind", "height"],
    "Refunded": ["paid", "block_time"],
}  # fmt: skip


def text(columns, **options):
    return read_projection("deals", columns, EVENTS, **options)


def python(columns, index=()):
    """The same lines in the body of a class."""
    body = "\n".join(f"    {name} = {line}" for name, line in columns.items())
    source = f'class Deals(Projection):\n    plural = "deals"\n{body}\n'
    names = {**vars(db.declare), "ledger": SimpleNamespace(**NAMES)}
    names["__name__"] = "ledger"
    exec(source + f"    index = {index!r}\n", names)
    return names["Deals"]


@st.composite
def views(draw):
    """An event, or what one reads of it, and a number of that."""
    event = draw(st.sampled_from(sorted(NUMBERS)))
    field = draw(st.sampled_from(NUMBERS[event]))
    view = f"ledger.{event}"
    if event == "Paid" and draw(st.booleans()):
        view = f"{view}.only({view}.amount {draw(st.sampled_from(['>', '==']))} 5)"
    return view, f"{view}.{field}"


@st.composite
def values(draw):
    view, number = draw(views())
    operator = draw(st.sampled_from(["", " + 1", " * 2", " // 3", " - 7"]))
    return draw(st.sampled_from(["", "-"])) + number + operator


@st.composite
def folds(draw):
    kind = draw(
        st.sampled_from(
            ["Sum", "Min", "Max", "First", "Latest", "CountDistinct", "Average"]
        )
    )
    if draw(st.integers(0, 5)) == 0:
        return f"Count({', '.join(draw(st.lists(views(), min_size=1))[0][:1])})"
    if draw(st.integers(0, 9)) == 0:
        return "Stage(([''], ledger.Opened, 'open'), (['open'], ledger.Closed, 'done'))"
    if draw(st.integers(0, 9)) == 0:
        return "Latest({ledger.Opened: True, ledger.Closed: False})"
    given = draw(st.lists(values(), min_size=1, max_size=3))
    where = ""
    if draw(st.booleans()) and all("Paid" in each for each in given):
        where = ", where=(ledger.Paid.kind == 1) | (ledger.Paid.amount >= 9)"
    return f"{kind}({', '.join(given)}{where})"


@st.composite
def tables(draw):
    columns = {"deal": "Key()"}
    if draw(st.booleans()):
        columns["day"] = f"Bucket('{draw(st.integers(1, 9))} hours')"
    for number, line in enumerate(draw(st.lists(folds(), min_size=1, max_size=4))):
        columns[f"c{number}"] = line
    numbers = [n for n, line in columns.items() if line.startswith(("Sum", "Count("))]
    if numbers:
        name = draw(st.sampled_from(numbers))
        columns["twice"] = f"{name} * 2 - 1"
        columns["large"] = f"({name} > 3) & ({name} != 5)"
    return columns, tuple(numbers[:1])


@settings(max_examples=300, deadline=None)
@given(tables())
def test_text_and_python_have_one_fingerprint(table):
    columns, index = table

    one, other = text(columns, index=index).spec, python(columns, index).spec

    assert one.fingerprint() == other.fingerprint()
    assert one.columns == other.columns
    assert one.index == other.index
    described = [item.describe() for item in one.expressions.values()]
    assert described == [item.describe() for item in other.expressions.values()]


WRONG = {
    "Sum(ledgr.Paid.amount)": ("ledgr", "did you mean ledger"),
    "Sum(ledger.Payd.amount)": ("Payd", "did you mean Paid"),
    "Sum(ledger.Paid.amont)": ("amont", "did you mean amount"),
    "Sum(ledger.Paid.spec)": ("spec", "use deal, payer, amount"),
    "Sum(ledger.Paid.amount, wher=1)": ("wher", "did you mean where"),
    "sum(ledger.Paid.amount)": ("sum", "did you mean Sum"),
    "Key": ("Key", "write Key()"),
    "Sum(ledger.Paid.amount) / 2": ("Sum(ledger.Paid.amount) / 2", "write //"),
    "Sum(ledger.Paid.amount, where=ledger.Paid.amount)": (None, "compare it with"),
    "Sum(ledger.Paid.keyed(deal='buyer').amount)": (
        "ledger.Paid.keyed(deal='buyer')", "use one of deal, payer",
    ),
    "é + Sum(ledgér.Paid.amount)": ("é", "use Average"),
    "Sum('é', ledgr.Paid.amount)": ("ledgr", "did you mean ledger"),
    "not x": ("not x", "use + - * //"),
    "1 < 2 < 3": ("1 < 2 < 3", "comparisons two at a time"),
    "Bucket('1 week')": ("Bucket('1 week')", "write \"1 day\""),
    "__import__('os')": ("__import__", "events of ledger"),
    "().__class__": ("().__class__", "columns above"),
    "[x for x in deal]": ("[x for x in deal]", "use + - * //"),
    "Sum(**deal)": ("Sum(**deal)", "name each"),
    "deal()": ("deal", "use Average"),
    "deal": ("deal", "take one of the two out"),
    "'text'": ("'text'", "write one of Average"),
    "Sum(ledger.Paid.amount": ("(", "correct the syntax"),
    "-" * 3000: (None, "shorten it"),
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_pointed_at(line):
    word, remedy = WRONG[line]

    with pytest.raises(DeclarationError) as caught:
        text({"deal": "Key()", "x": line})

    first, shown, marks = str(caught.value).split("\n")
    assert first.startswith("[tables.deals]: x: ")
    assert remedy in first
    assert f'    x = "{line}"' == shown
    at, length = marks.index("^"), marks.count("^")
    assert word in (None, shown[at : at + length])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"x": "Count(ledger.Paid)"}, "it has no key"),
        ({"deal": "Key()"}, "it folds nothing"),
        ({"deal": "Key()", "x": "Sum(ledger.Paid.payer)"}, 'x = "Sum(ledger.Paid.pa'),
        ({"deal": "Key()", "x": "Count(ledger.Transfer)"}, "for the key 'deal'"),
        ({"deal": "Key()", "x": "Average(ledger.Paid.payer)"}, 'x = "Average'),
        ({"deal": "Key()", "as_of": "Count(ledger.Paid)"}, "choose another name"),
        (
            {"deal": "Key()", "x": "Count(ledger.Paid.keyed(del_='payer'))"},
            "names no key of the table",
        ),
        ({"deal": "Key()", "a": "Count(ledger.Paid)", "b": "a"}, "there already"),
        ({"deal": "Key()", "b": "a * 2", "a": "Count(ledger.Paid)"}, "nothing is c"),
    ],
)
def test_what_a_table_lacks_is_named(columns, told):
    with pytest.raises(DeclarationError) as caught:
        text(columns)

    assert told in str(caught.value)
    assert "[tables.deals]" in str(caught.value)


def test_a_table_is_a_projection_like_others():
    found = text({"deal": "Key()", "paid": "Sum(ledger.Paid.amount)"}, doc="Deals.")

    assert issubclass(found, Projection)
    assert "Deals." == found.spec.doc
    assert "tables" == found.spec.domain
    assert [ledger.Paid] == found.spec.events
