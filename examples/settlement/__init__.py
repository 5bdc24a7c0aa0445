"""Creator settlement as a demonstration: a shop, its treasury, and a tour."""
