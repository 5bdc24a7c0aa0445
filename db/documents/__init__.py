"""Documents as the journal's rows have them."""
