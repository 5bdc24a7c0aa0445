"""What Solana programs look like."""
