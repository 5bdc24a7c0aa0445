"""Reading an EVM chain: JSON-RPC client, decoders, source."""
