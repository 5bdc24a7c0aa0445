"""The validator set after a block, from which the check of seals continues."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from db.control import validator_set


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The set after a block, in the form that the chain's kind gives it."""

    height: int
    hash: bytes
    state: Mapping[str, Any]  # JSON


def load(connection: Connection, source: int) -> ValidatorSet | None:
    """The set after the highest block that was proved, None when none was."""
    query = (
        select(validator_set)
        .where(validator_set.c.source == source)
        .order_by(validator_set.c.height.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else ValidatorSet(row.height, bytes(row.hash), row.state)


def store(connection: Connection, source: int, found: ValidatorSet) -> None:
    """Keep the set after a block in place of the one after an earlier block."""
    connection.execute(
        delete(validator_set).where(
            validator_set.c.source == source, validator_set.c.height <= found.height
        )
    )
    connection.execute(
        insert(validator_set)
        .values(source=source, height=found.height, hash=found.hash, state=found.state)
        .on_conflict_do_nothing()
    )


def forget_from(connection: Connection, source: int, height: int) -> None:
    """Forget the set after a block at or above a height."""
    connection.execute(
        delete(validator_set).where(
            validator_set.c.source == source, validator_set.c.height >= height
        )
    )
