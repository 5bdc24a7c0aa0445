"""Errors between the declarations and the database."""

from collections.abc import Sequence


class DatabaseError(Exception):
    """Base: every message ends with what to do."""


class StaleDeclarations(DatabaseError):
    """The tables were built from other declarations than this process has."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"the database was not built from these declarations: {', '.join(names)}. "
            "Run `chainfold migrate` with this version, or start the version that did."
        )


class UnfitDatabase(DatabaseError):
    """The database is not what this version needs, and only `migrate` may change it."""


class WouldDrop(DatabaseError):
    """A migration would drop tables or columns without permission."""

    def __init__(self, lost: Sequence[str]) -> None:
        super().__init__(
            f"this version does not declare {', '.join(lost)}, which the database has. "
            "Nothing was changed. If a newer version made them, start that one; to "
            "drop them run `chainfold migrate --drop` (their facts are kept)."
        )


class TooManyTables(DatabaseError):
    """Postgres has no room for the locks of so many tables."""

    def __init__(self, events: int) -> None:
        most = 128 * -(-events // 1000)
        super().__init__(
            f"Postgres ran out of room for locks while it made the tables of {events} "
            "events, and nothing was changed. Set max_locks_per_transaction = "
            f"{most} in its postgresql.conf, start it again, and migrate again."
        )


class ChangedEvent(DatabaseError):
    """Fields of events changed: their facts must be read from the chain again."""

    def __init__(self, events: Sequence[str]) -> None:
        words = " --refetch ".join(events)
        super().__init__(
            f"{', '.join(events)} changed, and the facts cannot be remade from the old "
            f"ones. Run `chainfold migrate --refetch {words}`: these facts are dropped "
            "and read from the chain again; other events are kept."
        )


class WrongChain(DatabaseError):
    """A chain in the settings is not the one that was indexed under its name."""


class LeaseLost(DatabaseError):
    """Another process took over this chain; nothing more may be written here."""
