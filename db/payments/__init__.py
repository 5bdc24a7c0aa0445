"""Payments by Stripe: what is kept about them beside the journal.

Entries are declared in `stripe`; `events` notes which events were read and what was
said, each once; `account` has how far they are read, `webhooks` the raw bodies,
`sessions` the checkout sessions that were asked for, `status` how all this stands.
"""

DOMAIN = "domain"  # the member of Stripe's metadata that names whose payment it is
PURCHASE = "purchase"  # and the one with the domain's own name of what is bought
