"""What is asked of Stripe: a client of its API, and checkout sessions, each once."""
