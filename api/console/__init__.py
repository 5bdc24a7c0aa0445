"""The console: pages for the people who run the platform, without scripts."""
