"""Passwords by argon2id; unknown logins take the same time."""

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.errors import Problem

LENGTH_MIN = 12
LENGTH_MAX = 1024

# Each hash takes 64 MB for a while: without a bound, many sign-ins at once would take
# all the memory there is.
AT_ONCE = 4
WAIT_SECONDS = 5.0

_hasher = PasswordHasher()
_room = threading.BoundedSemaphore(AT_ONCE)


def hash_password(password: str) -> str:
    """Return the hash of a new password; raises the Problem `weak_password`."""
    check_password(password)
    return rehash(password)


def rehash(password: str) -> str:
    """Return a new hash of a password that is in use already."""
    with _in_turn():
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
        with _in_turn():
            _hasher.verify(stored or _nobody(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than are used now."""
    return _hasher.check_needs_rehash(stored)


@contextmanager
def _in_turn() -> Iterator[None]:
    """Wait for room; raises the Problem `too_many_requests` when there is none."""
    if not _room.acquire(timeout=WAIT_SECONDS):
        raise Problem(
            "too_many_requests",
            "Too many people sign in at this moment. Try again in a few seconds.",
            retry_after=int(WAIT_SECONDS),
        )
    try:
        yield
    finally:
        _room.release()


def _normal(password: str) -> str:
    """Keyboards differ in how they compose the same letter."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobody() -> str:
    """A hash that no password fits, as its password is not kept."""
    return _hasher.hash(secrets.token_urlsafe())
