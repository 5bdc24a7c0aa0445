"""Compliance: the documents by which people and companies show who they are."""
