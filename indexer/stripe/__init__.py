"""Reads an account of Stripe into the journal, as a chain is read into facts.

Events only say which objects to look at; the objects are fetched from the API, and what
they show is said once (`db.payments.events`). `reader` goes along the events, `look`
fetches an object, `saying` makes entries of it, `asking` turns failures into ours.
"""
