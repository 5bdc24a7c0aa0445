"""Arrays as text: Postgres reads what was written."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db.arrays import array_text

WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


def test_postgres_reads_what_was_written(migrated_engine):
    with migrated_engine.connect() as connection:

        @given(st.lists(WORDS, max_size=5))
        def holds(values):
            query = text("SELECT CAST(:given AS text[])")
            found = connection.execute(query, {"given": array_text(values)})
            assert found.scalar_one() == values

        holds()
        for values in ([], [""], ["NULL", "{}", "a,b", '"', "\\"]):
            query = text("SELECT CAST(:given AS text[])")
            found = connection.execute(query, {"given": array_text(values)})
            assert found.scalar_one() == values
