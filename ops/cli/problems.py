"""Errors that a person can put right, as messages with their remedies."""

import errno
from collections.abc import Iterator

from psycopg2.errors import (
    DependentObjectsStillExist,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
)
from sqlalchemy.exc import DBAPIError

from commands.errors import CommandError
from db.declare import DeclarationError
from db.diagnosis import of_database
from db.engine import Unavailable
from db.errors import DatabaseError
from indexer.errors import IndexerError
from ops.embedded.supervisor import EmbeddedError
from ops.errors import OperationError
from ops.settings import SettingsError

NO_FOLDER = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR)
KNOWN = (
    CommandError,
    DatabaseError,
    DeclarationError,
    EmbeddedError,
    IndexerError,
    OperationError,
    SettingsError,
)
FAILED = 2  # the exit code of a verb that could not be done


def message_of(error: Exception) -> tuple[str, int] | None:
    """Return the message of an error and the verb's exit code; None of a bug."""
    if isinstance(error, KNOWN):
        code = error.exit_code if isinstance(error, OperationError) else FAILED
        return str(error), code
    return next(((text, FAILED) for text in _text_of(error)), None)


def _text_of(error: Exception) -> Iterator[str]:
    if isinstance(error, OSError):
        if error.errno in NO_FOLDER and error.filename is not None:
            yield (
                f"{error.filename} cannot be made or written to: {error.strerror}. Go "
                "to a folder where this user may write, or name one (--dir, --out, "
                "data_dir)."
            )
    elif isinstance(error, Unavailable):
        gist = str(error).split("\n", 1)[0]
        yield (
            f"{of_database(error)}: the database cannot be reached: {gist}\n"
            "Check [database] url in chainfold.toml (or CHAINFOLD_DATABASE_URL), or "
            "leave it out to use the embedded Postgres."
        )
    elif isinstance(error, DBAPIError):
        yield from _refused(error.orig)


def _refused(error: BaseException | None) -> Iterator[str]:
    """Yield Postgres's refusal with its remedy, where an operator has one."""
    lines = str(error).strip().split("\n")
    if isinstance(error, ReadOnlySqlTransaction):
        yield (
            f"the database may only be read: {lines[0]}\n"
            "Give the primary's URL, and a user that may write, as [database] url."
        )
    elif isinstance(error, InsufficientPrivilege):
        yield (
            f"the database's user may not do this: {lines[0]}\n"
            "Let it own the database, for tables and views are its to make: "
            "ALTER DATABASE <name> OWNER TO <user>. One that is only to read needs "
            "GRANT pg_read_all_data TO <user>."
        )
    elif isinstance(error, DependentObjectsStillExist):
        dependents = (error.diag.message_detail or "").split("\n")
        yield (
            f"{lines[0]} ({'; '.join(dependents)})\n"
            "Nothing was changed. Drop what you have made on Chainfold's views, "
            "migrate, and make it again."
        )
