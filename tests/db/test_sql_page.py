"""The statements of `docs/sql.md` do what the page says."""

import re

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from test_architecture import ROOT

PAGE = (ROOT / "docs" / "sql.md").read_text()
READING, COMMENTS, SIGN_IN, BY_HAND, GRANTS = re.findall(
    r"```sql\n(.*?)```", PAGE, re.DOTALL
)


@pytest.fixture
def connection(migrated_url):
    """A transaction that is undone: roles belong to the whole server."""
    engine = create_engine(migrated_url)
    with engine.connect() as found:
        yield found
        found.rollback()
    engine.dispose()


def test_the_examples_run(connection):
    connection.execute(text(READING))
    comments = dict(connection.execute(text(COMMENTS)).all())

    assert "Sum(InvestmentMade.amount)" in comments["raised"]
    assert None not in comments.values()


def refused(connection, statement):
    with (
        pytest.raises(DBAPIError, match="permission denied"),
        connection.begin_nested(),
    ):
        connection.execute(text(statement))


def test_who_has_the_role_reads_the_views_and_nothing_else(connection):
    connection.execute(text(SIGN_IN))
    connection.execute(text("SET ROLE grafana"))

    connection.execute(text("SELECT * FROM campaigns"))
    connection.execute(text("SELECT * FROM crowdfunding_investment_made"))
    for hidden in ("state.campaigns", "control.source", "public.campaign_drafts"):
        refused(connection, f"SELECT * FROM {hidden}")


def test_the_role_may_be_made_by_hand(connection):
    for statement in (BY_HAND, GRANTS):
        by_hand = statement.replace("chainfold_reader", "reader_by_hand")
        connection.execute(text(by_hand))
    connection.execute(text("CREATE VIEW later AS SELECT 1 AS one"))
    connection.execute(text("SET ROLE reader_by_hand"))

    connection.execute(text("SELECT * FROM campaigns"))
    connection.execute(text("SELECT * FROM later"))
    refused(connection, "SELECT * FROM state.campaigns")
