"""Declared expressions: built by operators, evaluated alike by Python and Postgres."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Numeric, cast, literal, null, select

from db.declare import (
    Address,
    Contract,
    Count,
    DeclarationError,
    Event,
    Latest,
    Sum,
    Uint,
)
from db.declare.expressions import Binary, Constant, Expression, as_expression
from db.sql.expressions import to_sql
from helpers import servers
from helpers.history import rounds
from helpers.ledger import abi_event

shop = Contract(
    "Shop", abi=[abi_event("Sold", item="address", price="uint256", fee="uint256")]
)


class Sold(Event):
    """A thing was sold."""

    source = shop
    item = Address()
    price = Uint()
    fee = Uint()


class Value(Expression):
    """A leaf that knows its value and its type."""

    def __init__(self, value, kind):
        self.value, self.kind = value, kind

    def describe(self):
        return f"{self.kind.__name__}:{self.value}"


def python(expression):
    return expression.evaluate(lambda leaf: leaf.value)


def sql_leaf(leaf):
    if leaf.value is None:
        return cast(null(), leaf.kind())
    return cast(literal(leaf.value), leaf.kind())


def postgres(connection, expression):
    found = connection.execute(select(to_sql(expression, sql_leaf))).scalar_one()
    if isinstance(found, Decimal):
        assert found == int(found)
        return int(found)
    return found


INTEGERS = st.one_of(
    st.none(),
    st.integers(-9, 9),
    st.integers(-(2**255), 2**256),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**18]),
)
NUMBERS = st.builds(Value, INTEGERS, st.just(Numeric))
CONDITIONS = st.builds(Value, st.sampled_from([True, False, None]), st.just(Boolean))


def binary(operators, operands):
    return st.builds(Binary, st.sampled_from(operators), operands, operands)


ARITHMETIC = st.recursive(
    NUMBERS | st.builds(Constant, st.integers(-100, 100)),
    lambda inner: binary(["+", "-", "*", "//"], inner),
    max_leaves=5,
)
COMPARED = binary(["<", "<=", ">", ">=", "==", "!="], ARITHMETIC)
LOGICAL = st.recursive(
    COMPARED | CONDITIONS, lambda inner: binary(["and", "or"], inner), max_leaves=5
)


@pytest.fixture(scope="module")
def connection(postgres_url):
    with servers.engine_on(postgres_url) as engine, engine.connect() as connection:
        yield connection


@settings(rounds(150))
@given(ARITHMETIC)
@example(Binary("//", Value(-7, Numeric), Value(2, Numeric)))
@example(Binary("//", Value(7, Numeric), Value(-2, Numeric)))
@example(Binary("//", Value(7, Numeric), Value(0, Numeric)))
@example(Binary("//", Value(2**256 - 1, Numeric), Value(3, Numeric)))
@example(Binary("*", Value(2**256, Numeric), Value(2**256, Numeric)))
def test_arithmetic_is_the_same_in_python_and_postgres(connection, expression):
    assert python(expression) == postgres(connection, expression)


@settings(rounds(150))
@given(LOGICAL)
def test_three_valued_logic_is_the_same_in_python_and_postgres(connection, expression):
    assert python(expression) is postgres(connection, expression)


def test_division_truncates_towards_zero_and_by_zero_is_unknown():
    def divided(left, right):
        return python(Value(left, Numeric) // Value(right, Numeric))

    assert 3 == divided(7, 2) == divided(-7, -2)
    assert -3 == divided(-7, 2) == divided(7, -2)
    assert divided(7, 0) is None
    assert divided(None, 2) is None


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (True, None, None, True),
        (False, None, False, None),
        (None, None, None, None),
        (False, False, False, False),
    ],
)
def test_the_unknown_in_and_and_or(left, right, both, either):
    for a, b in ((left, right), (right, left)):
        assert both is python(Value(a, Boolean) & Value(b, Boolean))
        assert either is python(Value(a, Boolean) | Value(b, Boolean))


def test_operators_build_trees_left_to_right():
    s = "test_expressions.Sold"

    assert f"({s}.price - {s}.fee)" == (Sold.price - Sold.fee).describe()
    assert f"(0 - {s}.price)" == (-Sold.price).describe()
    assert f"(100 - {s}.price)" == (100 - Sold.price).describe()
    assert f"(2 + ({s}.fee * 3))" == (2 + Sold.fee * 3).describe()
    assert f"(3 * {s}.fee)" == (3 * Sold.fee).describe()
    assert (
        f"(({s}.fee == 1) or ({s}.fee >= 5))"
        == ((Sold.fee == 1) | (Sold.fee >= 5)).describe()
    )


def test_leaves_are_read_left_to_right():
    names = [leaf.field.name for leaf in (Sold.price * 2 - Sold.fee).leaves()]

    assert ["price", "fee"] == names


def test_an_expression_has_no_truth_value():
    for use in (
        lambda: bool(Sold.price > 1),
        lambda: Sold.price > 1 and Sold.fee > 1,
        lambda: 1 < Sold.price < 5,
        lambda: not Sold.price,
        lambda: Sum(Sold.price) or Count(Sold),
    ):
        with pytest.raises(TypeError, match="use & and | instead of `and` and `or`"):
            use()


@pytest.mark.parametrize("value", [None, 1.5, [1], object()])
def test_only_plain_constants_stand_in_expressions(value):
    with pytest.raises(TypeError, match="cannot stand in a declared expression"):
        as_expression(value)
    with pytest.raises(DeclarationError, match="cannot be a folded value"):
        Latest({Sold: value})
