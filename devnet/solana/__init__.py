"""The development chain for Solana: a node over LiteSVM, its faults, and a client."""
