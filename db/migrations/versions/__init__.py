"""Alembic migrations of the control tables; declared tables are `db.schema`'s."""
