"""Wordings of notices: the same names in every language, and texts that are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.declare import DeclarationError, Notice, ToAccount, ToChannel, Wording
from db.declare.notices import TEXT_MAX

SOLD = Wording(
    en=("{title} is yours", "Dear {name},\nyou have {title}."),
    fr=("{title} est à vous", "Bonjour {name},\nvous avez {title}."),
)


def test_a_notice_has_its_texts_in_every_language():
    found = Notice("sold", SOLD, to=ToAccount("a-1"), title="Été", name="Zoë")

    assert found.texts == {
        "en": ("Été is yours", "Dear Zoë,\nyou have Été."),
        "fr": ("Été est à vous", "Bonjour Zoë,\nvous avez Été."),
    }


@given(st.text(), st.text())
def test_what_somebody_wrote_stays_a_text(title, name):
    """Braces of a value are no names, and a line end does not begin a header."""
    subject, text = Notice(
        "n", SOLD, to=ToChannel("ops"), title=title, name=name
    ).texts["en"]

    assert len(subject.splitlines()) == 1
    assert text == f"Dear {name[:TEXT_MAX]},\nyou have {title[:TEXT_MAX]}."


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"en": ("a", "b")}, "it is in en. Remedy: write it in en and fr"),
        ({}, "it is in no language"),
        ({"en": ("a", "{x}"), "fr": ("{y}", "b")}, "other names"),
        ({"en": ("a", "{x.__class__}"), "fr": ("a", "{x.__class__}")}, "no plain name"),
        ({"en": ("a", "{x!r}"), "fr": ("a", "{x!r}")}, "no plain name"),
        ({"en": ("a", "{0}"), "fr": ("a", "{0}")}, "no plain name"),
        ({"en": ("a", "{x:>9}"), "fr": ("a", "{x:>9}")}, "no plain name"),
    ],
)
def test_wordings_that_cannot_be_written_are_refused(texts, problem):
    with pytest.raises(DeclarationError, match=problem):
        Wording(**texts)


def test_values_are_those_that_the_wording_names():
    with pytest.raises(ValueError, match="is given title, and its wording names name"):
        Notice("sold", SOLD, to=ToAccount("a-1"), title="x")
