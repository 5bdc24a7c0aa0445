"""Intent to signed transaction to proof."""
