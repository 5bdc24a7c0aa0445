"""JSON-RPC to several endpoints at once, for chains of every kind."""
