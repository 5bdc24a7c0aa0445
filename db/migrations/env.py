"""Alembic's entry: runs on the connection that `db.schema` hands over."""

from alembic import context

from db.control import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema="control",
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
