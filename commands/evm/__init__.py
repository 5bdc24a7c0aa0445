"""Commands that become transactions of an EVM chain: keys, nodes, and open nonces."""
