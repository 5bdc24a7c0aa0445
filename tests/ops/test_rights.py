"""A database user with too few rights is told so, in words."""

import uuid

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url

from helpers import servers
from ops.cli.main import main


@pytest.fixture
def role(postgres_url):
    """A user that owns nothing and may do nothing but connect."""
    name = f"user_{uuid.uuid4().hex[:12]}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield name
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {name}")
    engine.dispose()


@pytest.fixture
def database(postgres_url, role):
    """A database that somebody else owns; gone before the role is."""
    with servers.fresh_database(postgres_url) as url:
        yield url


@pytest.mark.parametrize(
    ("rights", "refused"),
    [("CONNECT", "permission denied for database"), ("CREATE", "schema public")],
)
def test_a_user_with_too_few_rights_is_told_so(
    tmp_path, database, role, rights, refused
):
    """Since Postgres 15 only a database's owner may make views in its public schema."""
    address = make_url(database)
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"GRANT {rights} ON DATABASE {address.database} TO {role}"
        )
        connection.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM public")
    engine.dispose()
    url = address.set(drivername="postgresql", username=role, password="secret")
    settings = tmp_path / "chainfold.toml"
    settings.write_text(f'[database]\nurl = "{url.render_as_string(False)}"\n')

    result = CliRunner().invoke(main, ["--config", str(settings), "migrate"])

    assert result.exit_code == 2, result.output
    assert refused in result.output
    assert "OWNER TO" in result.output
