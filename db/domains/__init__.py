"""The specification: one folder per business, written in the words of `db.declare`."""
