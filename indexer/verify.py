"""Checking every table against its facts."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from db.registry import Registry
from db.schema import unchanged
from db.sql.verify import Difference, differences


@dataclass(frozen=True, slots=True)
class Verified:
    """One projection and where its rows are not what its facts fold to."""

    projection: str
    differences: list[Difference]


def run_verification(
    engine: Engine, registry: Registry, names: Collection[str] = (), *, most: int = 100
) -> Iterator[Verified]:
    """Compare each projection, or those named, in a snapshot of its own.

    Facts and rows agree at every commit, so writing may go on meanwhile. At most `most`
    differences of a projection are listed.
    """
    for plural, projection in registry.projections.items():
        if names and plural not in names:
            continue
        found: list[Difference] = []
        with unchanged(engine, registry) as connection:
            for difference in differences(connection, projection.spec):
                found.append(difference)
                if len(found) == most:
                    break
        yield Verified(plural, found)
