"""Made-up businesses that show the product at work; in a clone alone."""
