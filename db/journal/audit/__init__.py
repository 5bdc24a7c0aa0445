"""The audit log: what was asked of the platform, and what came of it."""
