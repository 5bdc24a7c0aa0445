"""What the journal says, by kind of entry."""

from db.journal.entries import fact_of, read_entries


def bodies(engine, entry):
    """The values of the entries of a kind, in their order."""
    with engine.connect() as connection:
        return [
            dict(fact_of(entry, row, digest).values)
            for row, digest in read_entries(connection, kind=entry.spec.id)
        ]
