"""What we know, and the SQL that follows from it."""
