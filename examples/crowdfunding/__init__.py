"""Crowdfunding, made up: people, campaigns, a tour, and the demonstration."""
