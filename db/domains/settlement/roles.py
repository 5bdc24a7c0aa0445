"""Roles of those who take part in creator settlement."""

from db.declare import Role

BUYER = Role("buyer", self_service=True, newcomer=True)
CREATOR = Role("creator", self_service=True)
