"""The signing port: JSON-RPC to a process that keeps keys, whatever the chain."""
