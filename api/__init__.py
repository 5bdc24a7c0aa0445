"""The only door: HTTP reads of the indexed state."""
