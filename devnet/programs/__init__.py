"""Programs for Solana in C, with what builds them."""
