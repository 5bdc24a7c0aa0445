"""What somebody gives us has maxima; what a chain says does not."""

import pytest

from db.declare import Blob, Command, DeclarationError, Entry, Json, Role, Text


class Said(Entry):
    """Somebody said something."""

    note = Text(max_length=10)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Text(), "x" * 2001), (Text(max_length=3), "éèàù"), (Text(), "a\0b"),
        (Blob(), b"x" * 8193), (Blob(max_length=2), "0x010203"),
        (Json(), ["x" * 16_384]), (Json(max_length=5), {"a": 1}),
    ],
)  # fmt: skip
def test_what_is_given_is_not_longer_than_it_may_be(field, value):
    field.name = "note"
    field.check(value)  # a chain may say so

    with pytest.raises(ValueError, match="^note: it "):
        field.check_given(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Text(), "x" * 2000), (Text(max_length=4), "éèàù"), (Blob(), b"x" * 8192),
        (Json(), ["x" * 10_000]), (Text(max_length=20_000), "x" * 20_000),
    ],
)  # fmt: skip
def test_what_is_as_long_as_it_may_be_is_taken(field, value):
    assert value == field.check_given(value)


def test_entries_have_maxima_too():
    Said(note="0123456789")
    with pytest.raises(ValueError, match="note: it has 11 characters, and may have 10"):
        Said(note="0123456789a")


def test_a_command_takes_no_more_than_its_entry():
    with pytest.raises(DeclarationError, match="use the same max_length"):

        class Say(Command):
            """Say something."""

            note = Text(max_length=11)
            role = Role.OPERATOR
            record = Said


def test_a_wrong_value_is_shown_in_part():
    with pytest.raises(ValueError, match=r"is not") as told:
        Blob().check("x" * 100_000)
    assert len(str(told.value)) < 200
