"""The development chain: a local node, our contracts on it, and business to watch."""
