"""The SQL of accounts, sessions, keys and sign-in; secrets come here as digests."""
