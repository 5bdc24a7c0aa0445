"""Real servers that need no installation: Postgres and Redis from wheels."""
