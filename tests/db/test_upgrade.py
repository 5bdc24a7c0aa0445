"""A database of the release before is upgraded by `migrate`, and loses nothing.

`tests/fixtures/release_0027.sql.xz` is what pg_dump 18 wrote of the demo's database
with control tables 0027: a chain of 180 blocks, a business of 25 campaigns, nine
commands and a journal. Rows about accounts were left out.
"""

import lzma
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from db import fit
from db.journal.verify import faults
from db.registry import Registry
from db.schema import migrate
from db.sql.verify import differences
from helpers import servers
from ops.embedded.binaries import find_postgres

DUMP = Path(__file__).parents[1] / "fixtures" / "release_0027.sql.xz"


@pytest.fixture
def older(database_url, tmp_path):
    """An engine on the database of the release before."""
    psql = find_postgres(tmp_path) / "psql"
    subprocess.run(
        [psql, "--quiet", "--set=ON_ERROR_STOP=1", servers.plain(database_url)],
        input=lzma.decompress(DUMP.read_bytes()), capture_output=True, check=True,
        timeout=120,
    )  # fmt: skip
    with servers.engine_on(database_url) as engine:
        yield engine


def test_the_release_before_is_upgraded_without_a_difference(older):
    registry = Registry.load()
    with older.connect() as connection:
        before = fit.examine(connection, registry)
        commands = connection.execute(text("SELECT * FROM control.command")).all()

    migrate(older, registry)

    assert "an older Chainfold" in before.message
    with older.connect() as connection:
        assert not fit.examine(connection, registry).message
        for projection in registry.projections.values():
            assert list(differences(connection, projection.spec)) == []
        assert connection.scalar(text("SELECT count(*) FROM campaigns")) == 25
        assert connection.scalar(text("SELECT count(*) FROM investments")) == 593
        after = connection.execute(text("SELECT * FROM control.command")).all()
        assert sorted(after) == sorted(commands)
        assert len(after) == 9
    assert list(faults(older, registry)) == []


def test_a_late_outcome_and_a_hold_are_kept_under_their_new_names(older):
    """Columns and words that 0034 renames, with what the release before wrote."""
    with older.begin() as connection:
        late, other = connection.scalars(
            text("SELECT id FROM control.command ORDER BY id LIMIT 2")
        )
        connection.execute(
            text("UPDATE control.command SET ran = 'succeeded' WHERE id = :id"),
            {"id": late},
        )
        connection.execute(
            text(
                "INSERT INTO control.command_event (command, at, state, details) VALUES"
                " (:id, now(), 'cancelled', jsonb_build_object('ran', 'succeeded',"
                " 'height', 7))"
            ),
            {"id": late},
        )
        connection.execute(text("UPDATE control.signer SET hold = 'signer-away'"))

    migrate(older, Registry.load())

    with older.connect() as connection:
        found = {
            row.id: row.late_outcome
            for row in connection.execute(
                text("SELECT id, late_outcome FROM control.command")
            )
        }
        details = connection.scalars(
            text("SELECT details FROM control.command_event ORDER BY id DESC LIMIT 1")
        ).one()
        holds = set(connection.scalars(text("SELECT hold FROM control.signer")))
    assert ("succeeded", "") == (found[late], found[other])
    assert details == {"late_outcome": "succeeded", "height": 7}
    assert holds == {"signer-unavailable"}
