"""Commands as transactions of a Solana cluster."""
