"""Errors of reads; no message shows SQL, a host or a credential."""

from db.errors import DatabaseError


class ReadError(DatabaseError):
    """Base: a read that gave no answer."""


class BadQuery(ReadError):
    """The question cannot be asked in this way."""


class BadCursor(BadQuery):
    """The cursor is not one of this query's."""


class NotYetIndexed(ReadError):
    """A block was asked for that is above the checkpoint."""

    def __init__(self, chain: str, asked: int, checkpoint: int | None) -> None:
        self.chain = chain
        self.asked = asked
        self.checkpoint = checkpoint
        known = (
            "no block is indexed yet"
            if checkpoint is None
            else f"{chain} is indexed up to block {checkpoint}"
        )
        super().__init__(
            f"Block {asked} is not indexed: {known}. "
            "Ask for a lower block, or again when the checkpoint has passed it."
        )


class NothingIndexed(ReadError):
    """No answer is true for any block yet."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        super().__init__(
            f"Nothing is indexed on {chain} yet: the first blocks of what this reads "
            "have not been written. Ask again in a moment."
        )


class PartlyIndexed(ReadError):
    """Rows hold some of what is above the checkpoint: the state at no block."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        super().__init__(
            f"{chain} is being read in parts, by a backfill or because a declaration "
            "changed, and nothing is decided on parts. Ask again when it is read."
        )


class DatabaseAway(ReadError):
    """The database does not answer."""

    def __init__(self) -> None:
        super().__init__("The database does not answer. Ask again in a moment.")


class SchemaChanged(ReadError):
    """The tables are not what this process was declared with."""

    def __init__(self) -> None:
        super().__init__(
            "The tables in the database are not those of this version. Run "
            "`chainfold migrate`, or start the version that built them."
        )


class TooSlow(ReadError):
    """The statement was cancelled by its time limit."""

    def __init__(self) -> None:
        super().__init__(
            "The read took longer than is allowed. Filter by key, or ask for less."
        )
