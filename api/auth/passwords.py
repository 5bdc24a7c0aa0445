"""Passwords: argon2id, and the same time for somebody who does not exist."""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.errors import Problem

LENGTH_MIN = 12
LENGTH_MAX = 1024

_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """What is stored of a password; raises the Problem `weak_password`."""
    check_password(password)
    return rehash(password)


def rehash(password: str) -> str:
    """What is stored of a password that is in use already."""
    return _hasher.hash(_normal(password))


def check_password(password: str) -> None:
    """Raise the Problem `weak_password` unless a password may be chosen."""
    if len(_normal(password)) < LENGTH_MIN or len(set(password)) < LENGTH_MIN // 3:
        raise Problem(
            "weak_password",
            f"The password is too easy to guess: give {LENGTH_MIN} characters or more, "
            "and not the same few of them. Several words do well.",
        )


def password_fits(password: str, stored: str | None) -> bool:
    """Whether it is the password; takes as long when there is none to compare with."""
    try:
        _hasher.verify(stored or _nobody(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than are used now."""
    return _hasher.check_needs_rehash(stored)


def _normal(password: str) -> str:
    """Keyboards differ in how they compose the same letter."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobody() -> str:
    """A hash that no password fits, as its password is not kept."""
    return _hasher.hash(secrets.token_urlsafe())
