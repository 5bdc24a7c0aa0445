"""Requests to Stripe: a client of its API, and checkout sessions, each made once."""
