"""Running it: the command line, settings, embedded servers and all around them."""
