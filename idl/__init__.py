"""IDLs of Solana programs."""
