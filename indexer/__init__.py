"""Chain to facts to rows."""
