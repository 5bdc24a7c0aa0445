"""Payments as Stripe tells them: captured, refunded, disputed, paid out."""
