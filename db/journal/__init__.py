"""The journal: our own entries, chained by hashes and folded like a chain.

`append` writes an entry, its fact and its rows; `personal` keeps what is about a person
apart; `verify` walks the chain of hashes; `root` makes one hash of a day.
"""
