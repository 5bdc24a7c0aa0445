"""A verifier in another language comes to the same hashes, from the format alone."""

import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from db.journal.append import append
from db.journal.head import read_head
from db.schema import migrate
from helpers.journal import ANNA, BEN, NOW, OFFICER, REGISTRY, Decided, apply_

FOLDER = Path(__file__).parents[3] / "examples" / "journal"
ODD = {
    "\N{GRINNING FACE}": 2**70 + 1,
    "\uff5e": [-5, True, None, [], {}],
    'a"b\\c\n\x1f\x7f': "ብርሃን \u2028",
    "": {"z": 9_007_199_254_740_993, "A": ""},
    "7": 1,
    "12": "-3",
}

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed"
)


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    with db_engine.begin() as connection:
        for entry, signature in (
            (apply_(ANNA, 10, wishes=ODD), None),
            (apply_(BEN, 2**200 + 7, wishes=[ODD, "x"]), b"\1\xfe\2"),
            (Decided(applicant=ANNA, amount=4, reason="half \U0001f600"), None),
            (apply_(BEN, 0, wishes=0), b"\7"),
        ):
            append(
                connection, REGISTRY, entry, actor=OFFICER, now=NOW, signature=signature
            )
    return db_engine


def verified(engine):
    with engine.connect() as connection:
        rows = connection.scalars(text((FOLDER / "entries.sql").read_text())).all()
    return subprocess.run(
        ["node", FOLDER / "verify.mjs"], input="\n".join(rows), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_entry_has_the_same_hash(engine):
    with engine.connect() as connection:
        head = read_head(connection)

    done = verified(engine)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout == f"4 entries, last hash {head.hash.hex()}\n"


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        ("body = jsonb_set(body, '{amount}', '\"5\"') WHERE seq = 3", 3),
        ("body = jsonb_set(body, '{wishes,7}', '2') WHERE seq = 1", 1),
        ("at = at + interval '1 microsecond' WHERE seq = 4", 4),
        ("signature = NULL WHERE seq = 2", 2),
        ("personal = personal || '\\x00'::bytea WHERE seq = 2", 2),
        ("previous = sha256(previous) WHERE seq = 4", 4),
    ],
)
def test_a_changed_entry_is_named(engine, change, seq):
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        update = f"UPDATE control.journal_entry SET {change}"
        assert connection.execute(text(update.replace(":", "\\:"))).rowcount == 1

    done = verified(engine)

    assert (1, f"entry {seq} is wrong\n") == (done.returncode, done.stdout)


def test_a_missing_entry_is_noticed(engine):
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM control.journal_entry WHERE seq = 2"))

    assert verified(engine).stdout == "entry 3 is wrong\n"
