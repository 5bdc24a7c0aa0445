"""The books: what entries post to accounts, balances as of any day, and closed periods.

Nothing is stored: lines are computed from the facts of entries by the postings that
domains declare (`db.declare.books`), so they cannot differ from the journal.
"""
