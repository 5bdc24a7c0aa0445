"""Issuer crowdfunding: registry, campaigns, investments, certificates, escrow, fees."""
