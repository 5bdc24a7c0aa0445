"""Limits learnt from endpoints' refusals, so that they are not asked again."""

from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from db.control import endpoint_limit


def load_limits(engine: Engine, endpoint: str) -> dict[str, Any]:
    """The limits stored for an endpoint, by name; empty when none are."""
    query = select(endpoint_limit.c.limits).where(endpoint_limit.c.endpoint == endpoint)
    with engine.connect() as connection:
        found: dict[str, Any] | None = connection.execute(query).scalar()
    return found or {}


def save_limits(engine: Engine, endpoint: str, limits: dict[str, Any]) -> None:
    """Store the limits of an endpoint, whose name holds no credentials."""
    statement = insert(endpoint_limit).values(endpoint=endpoint, limits=limits)
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["endpoint"], set_={"limits": limits}
            )
        )
