"""The one collection of tables that `db/migrations` creates, in schema `control`."""

from sqlalchemy import MetaData

metadata = MetaData(schema="control")
