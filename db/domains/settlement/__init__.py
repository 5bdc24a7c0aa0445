"""Creator settlement: a card payment, and one transaction that mints and splits."""
