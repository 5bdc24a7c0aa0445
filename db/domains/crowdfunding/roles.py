"""Roles of those who take part in crowdfunding."""

from db.declare import Role

INVESTOR = Role("investor", self_service=True, newcomer=True)
ISSUER = Role("issuer", self_service=True)
