"""Roles: who may ask for what. An account has one or more of them."""

import enum


class Role(enum.StrEnum):
    """The role of an account on the platform."""

    ISSUER = "issuer"
    INVESTOR = "investor"
    COMPLIANCE = "compliance_officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
