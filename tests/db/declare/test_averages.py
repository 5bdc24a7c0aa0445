"""Averages and buckets of time, and what is refused of them."""

import pytest

from db.declare import (
    Average,
    Bucket,
    Count,
    DeclarationError,
    Key,
    Projection,
    Sum,
    Top,
)
from db.declare.fields import FieldKind
from db.registry import Registry
from db.sql.ddl import key_indexes
from helpers.ledger import Paid, Refunded


class Day(Projection):
    """Payments of a day."""

    day = Bucket("1 day")
    deal = Key()

    price = Average(Paid.amount, Refunded.paid)

    doubled = price * 2


def test_an_average_keeps_its_sum_and_its_number():
    spec = Day.spec

    assert ["day", "deal", "price_sum", "price_count", "price", "doubled"] == (
        spec.columns
    )
    assert isinstance(spec.folds["price_sum"], Sum)
    assert isinstance(spec.folds["price_count"], Count)
    assert FieldKind.NUMERIC is spec.column_field("price").kind


def test_a_bucket_is_a_key_of_every_event():
    seconds = {view.field_for_key("day").seconds for view in Day.spec.views}

    assert {86_400} == seconds
    assert FieldKind.BIGINT is Day.spec.keys["day"].kind


def test_buckets_of_other_lengths_are_other_projections():
    def prints(length):
        body = {"tick": Bucket(length), "paid": Count(Paid), "__module__": __name__}
        body["paid"].name = "paid"
        return type("Ticks", (Projection,), body).spec.fingerprint()

    assert prints("1 minute") == prints("60 seconds") != prints("2 minutes")


def test_facts_are_found_by_the_bucket_they_are_in():
    names = {index.name for index in key_indexes([Day.spec])}

    assert "test_averages_paid_by" not in names
    assert any("block_time_86400_deal" in name for name in names)


@pytest.mark.parametrize("length", ["day", "0 days", "1.5 hours", "1 week", "", 60])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(DeclarationError, match='write "1 day"'):
        Bucket(length)


def test_the_parts_of_an_average_have_their_names_for_themselves():
    with pytest.raises(DeclarationError, match=r"price_sum: .*a part of an average"):

        class Clash(Projection):
            """Two of one name."""

            deal = Key()
            price = Average(Paid.amount)
            price_sum = Sum(Paid.amount)


def test_an_average_of_text_is_refused():
    with pytest.raises(DeclarationError, match="cannot work with bytea"):

        class Odd(Projection):
            """An average of addresses."""

            deal = Key()
            who = Average(Paid.payer)


@pytest.mark.parametrize("number", [0, 101, True, "3", Paid.amount])
def test_a_top_of_no_number_is_refused(number):
    with pytest.raises(DeclarationError, match="write 1 to 100"):
        Top(number, Paid.amount)


def test_a_top_of_text_is_refused():
    with pytest.raises(DeclarationError, match="Top cannot work with bytea"):

        class Odd(Projection):
            """The greatest addresses."""

            deal = Key()
            who = Top(3, Paid.payer)


def test_a_registry_takes_them():
    assert {"days"} == set(Registry.of([], [Day]).projections)
